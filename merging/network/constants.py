"""Buffers that are no weights: position indices, masks, frequencies, fixed grids. They belong to the architecture.

They are never averaged, and equal in all networks that are merged. Where a permutation of units would re-order one, the
units keep their places: else a merged unit would need the constants of two units at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from merging.errors import IncompatibleModels
from merging.network.permutation import Axis, Group, PermutationSpec, named_tensors
from merging.results.reports import letter

NORMALISERS = ("_input_mean", "_input_std", "normalise.mean", "normalise.std")  # of the zoo's first step
NORMALISED = (
    "The networks expect their images normalised differently. Load all of them with the same: "
    "load_checkpoint(path, mean=..., std=...), one number per channel."
)
STATISTICS = {"running_mean", "running_var"}  # a module that has buffers of these names is a norm, all of whose are its


def statistics_of(model: nn.Module) -> set[str]:
    """Names of the buffers that norms measure or learn, such as BatchNorm's running statistics."""
    return {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if STATISTICS & {name for name, _ in module.named_buffers(recurse=False)}
        for name, _ in module.named_buffers(recurse=False)
    }


def constants_of(model: nn.Module) -> dict[str, Tensor]:
    """The buffers that are no norm's statistics, name -> tensor of any shape and type, as in `named_tensors`."""
    weights = {name for name, _ in model.named_parameters()} | statistics_of(model)
    return {name: tensor for name, tensor in named_tensors(model).items() if name not in weights}


def equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same number by number; NaN counts as equal to NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    same = one == other
    return bool((same | (one.isnan() & other.isnan())).all()) if one.is_floating_point() else bool(same.all())


def pinned_by(spec: PermutationSpec, constants: Mapping[str, Tensor]) -> dict[str, str]:
    """Group -> the constant that another order of its units would change, for the groups that there are of that kind.

    constants: name -> tensor of any shape.
    """
    return {
        group.name: axis.parameter
        for group in reversed(spec.groups)
        for axis in reversed(group.axes)
        if axis.parameter in constants and not _alike(constants[axis.parameter], axis, group)
    }


def without_constants(spec: PermutationSpec, constants: Mapping[str, Tensor]) -> PermutationSpec:
    """The groups that may be permuted with every constant left as it is, and their axes on weights alone.

    constants: name -> tensor of any shape, of the network that the spec is of.
    """
    pinned = pinned_by(spec, constants)
    groups = (
        replace(group, axes=tuple(axis for axis in group.axes if axis.parameter not in constants))
        for group in spec.groups
        if group.name not in pinned
    )
    return PermutationSpec(tuple(group for group in groups if group.axes))


def refuse_different(
    models: Sequence[nn.Module], specs: Sequence[PermutationSpec], used: Collection[str], base: nn.Module | None = None
) -> None:
    """Raises IncompatibleModels where a constant that the forward pass reads is not the same in all networks.

    specs: of every model; along the units, only one of several that are alike is compared.  used: names of tensors.
    base: a network of the first's structure.
    """
    own = [_once(constants_of(model), spec) for model, spec in zip(models, specs, strict=True)]
    named = [f"network {letter(number)}" for number in range(len(own))]
    if base is not None:
        own.append(_once(constants_of(base), specs[0]))
        named.append("the base")
    for constants, name in zip(own[1:], named[1:], strict=True):
        for key, tensor in own[0].items():
            if key in used and (key not in constants or not equal(tensor.cpu(), constants[key].cpu())):
                if key.endswith(NORMALISERS):
                    raise IncompatibleModels(NORMALISED)
                raise IncompatibleModels(
                    f"The buffer {key} is not the same in network A and in {name}. A buffer that is no norm's running "
                    "statistic is taken for a constant of the architecture, which is neither re-ordered nor averaged. "
                    "If it was learned, make it a parameter (nn.Parameter, requires_grad=False). One that a weight is "
                    "made with goes with torch.nn.utils.parametrize.remove_parametrizations (spectral_norm) or "
                    "torch.nn.utils.prune.remove (pruning masks)."
                )


def _once(constants: Mapping[str, Tensor], spec: PermutationSpec) -> dict[str, Tensor]:
    """The constants with one unit's part of those that are alike for all units of a group."""
    found = dict(constants)
    for name in constants.keys() & spec.by_parameter.keys():
        for axis, group in sorted(spec.by_parameter[name], key=lambda pair: -pair[0].offset):
            if _alike(found[name], axis, group):
                ends = (axis.offset + axis.block, axis.offset + group.size * axis.block)
                kept = torch.cat([torch.arange(ends[0]), torch.arange(ends[1], found[name].shape[axis.dim])])
                found[name] = found[name].index_select(axis.dim, kept.to(found[name].device))
    return found


def _alike(tensor: Tensor, axis: Axis, group: Group) -> bool:
    """Whether all units of the group have the same numbers along the axis."""
    rows = tensor.movedim(axis.dim, 0)[axis.offset : axis.offset + group.size * axis.block]
    units = rows.reshape(group.size, -1)
    return equal(units, units[:1].expand_as(units))
