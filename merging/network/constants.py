"""Buffers that are not weights: position indices, masks, frequencies, fixed grids. They belong to the architecture.

They are never averaged, and must be equal in all networks that are merged. If a permutation would re-order a constant,
the units of that group keep their places: otherwise one merged unit would need the constants of two different units.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from merging.errors import IncompatibleModels
from merging.naming import letter
from merging.network.permutation import Axis, Group, PermutationSpec, named_tensors

NORMALISERS = ("_input_mean", "_input_std", "normalise.mean", "normalise.std")  # buffers of the zoo networks
NORMALISED = (
    "The networks expect images that are normalised differently. Load all of them with the same mean and std: "
    "load_checkpoint(path, mean=..., std=...), one number per channel."
)
# A module with a buffer of one of these names is a norm, and all its buffers are statistics.
STATISTICS = {"running_mean", "running_var"}


def statistics_of(model: nn.Module) -> set[str]:
    """Return the names of all buffers of norm modules, such as BatchNorm's running statistics."""
    return {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if STATISTICS & {name for name, _ in module.named_buffers(recurse=False)}
        for name, _ in module.named_buffers(recurse=False)
    }


def constants_of(model: nn.Module) -> dict[str, Tensor]:
    """Return all buffers except norm statistics: name -> tensor of any shape and type, as in `named_tensors`."""
    weights = {name for name, _ in model.named_parameters()} | statistics_of(model)
    return {name: tensor for name, tensor in named_tensors(model).items() if name not in weights}


def equal(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have equal shapes, types and values; NaN counts as equal to NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    same = one == other
    return bool((same | (one.isnan() & other.isnan())).all()) if one.is_floating_point() else bool(same.all())


def pinned_by(spec: PermutationSpec, constants: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the groups that must not be permuted: group name -> a constant that a permutation would change.

    All other groups are left out. constants: name -> tensor of any shape.
    """
    return {
        group.name: axis.parameter
        for group in reversed(spec.groups)
        for axis in reversed(group.axes)
        if axis.parameter in constants and not _alike(constants[axis.parameter], axis, group)
    }


def without_constants(spec: PermutationSpec, constants: Mapping[str, Tensor]) -> PermutationSpec:
    """Return the groups whose permutation changes no constant, with only their axes on weights.

    Args:
        spec: the permutation groups of a network.
        constants: name -> tensor of any shape, the constants of the same network.
    """
    pinned = pinned_by(spec, constants)
    groups = (
        replace(group, axes=tuple(axis for axis in group.axes if axis.parameter not in constants))
        for group in spec.groups
        if group.name not in pinned
    )
    return PermutationSpec(tuple(group for group in groups if group.axes), pinned)


def refuse_different(
    models: Sequence[nn.Module], specs: Sequence[PermutationSpec], used: Collection[str], base: nn.Module | None = None
) -> None:
    """Raise IncompatibleModels where a constant that the forward pass reads differs between the networks.

    Args:
        models: the networks to compare with the first one.
        specs: one per model. Along a group whose units all have the same constants, only one unit is compared.
        used: names of the tensors that the forward pass reads.
        base: a network of the first one's structure, compared as well.
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
                    f"The buffer {key} is not the same in network A and in {name}. Buffers other than the running "
                    "statistics of norms are treated as constants of the architecture: they are neither re-ordered nor "
                    f"averaged. If {key} was learned, make it a parameter (nn.Parameter, requires_grad=False). If a "
                    "weight is computed from it, call torch.nn.utils.parametrize.remove_parametrizations "
                    "(spectral_norm) or torch.nn.utils.prune.remove (pruning masks) for that weight."
                )


def _once(constants: Mapping[str, Tensor], spec: PermutationSpec) -> dict[str, Tensor]:
    """Return the constants; where all units of a group have equal values, only the first unit's values are kept."""
    reduced = dict(constants)
    for name in constants.keys() & spec.by_parameter.keys():
        for axis, group in sorted(spec.by_parameter[name], key=lambda pair: -pair[0].offset):
            if _alike(reduced[name], axis, group):
                ends = (axis.offset + axis.block, axis.offset + group.size * axis.block)
                indices = torch.cat([torch.arange(ends[0]), torch.arange(ends[1], reduced[name].shape[axis.dim])])
                reduced[name] = reduced[name].index_select(axis.dim, indices.to(reduced[name].device))
    return reduced


def _alike(tensor: Tensor, axis: Axis, group: Group) -> bool:
    """Return whether all units of the group have the same values along the axis."""
    rows = tensor.movedim(axis.dim, 0)[axis.offset : axis.offset + group.size * axis.block]
    units = rows.reshape(group.size, -1)
    return equal(units, units[:1].expand_as(units))
