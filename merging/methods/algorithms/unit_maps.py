"""Mapping a network's units linearly, as CCA, optimal transport and ZipIt! do instead of permuting them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from merging.methods.algorithms.coordinate_descent import assign
from merging.methods.problem import UnitMap
from merging.network.constants import constants_of
from merging.network.permutation import (
    Axis,
    Group,
    Permutation,
    PermutationSpec,
    named_tensors,
    permute_tensors,
    with_tensors,
)


def from_permutation(p: Int[Tensor, " units"]) -> UnitMap:
    """Return the unit map that applies the permutation p, (units,) int64."""
    make = torch.eye(len(p), dtype=torch.float64)[p.cpu()]
    return UnitMap(make, make.T)


def one_to_one(make: Float[Tensor, "merged units"]) -> Int[Tensor, " merged"]:
    """Return the unit that corresponds best to each merged unit, for display: (merged units,) int64.

    make: (merged units, units). The result is the best one-to-one match by the magnitude of `make`; if the numbers of
    units differ, it is the unit of largest magnitude per merged unit.
    """
    return assign(make.abs()) if make.shape[0] == make.shape[1] else make.abs().argmax(1)


def mapped(
    model: nn.Module, spec: PermutationSpec, like: nn.Module, permutation: Permutation, maps: Mapping[str, UnitMap]
) -> nn.Module:
    """Return a copy of `like` with the tensors of `model`, mapped to the merged net's units in float64.

    Axes that produce units are multiplied by `make`, axes that read units by `use`. A BatchNorm's running variance is
    multiplied by the squares of `make`, as if units were uncorrelated, so a BatchNorm reset should follow.

    Args:
        model: the network to map.
        spec: the groups of `model`.
        like: a network with the merged net's architecture.
        permutation: permutation of every group without a map, group -> (units,) int64.
        maps: group -> UnitMap.
    """
    still = {group.name: torch.arange(group.size) for group in spec.groups if group.name in maps}
    tensors = permute_tensors(named_tensors(model), spec, permutation | still)
    variances = {f"{name}.running_var" for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
    for name, pairs in spec.by_parameter.items():
        for dim in sorted({axis.dim for axis, group in pairs if group.name in maps}):
            here = [(axis, group) for axis, group in pairs if axis.dim == dim and group.name in maps]
            tensors[name] = _map_axis(tensors[name], here, maps, squared=name in variances)
    constants = constants_of(like)  # kept from `like`, because they have the merged net's number of units
    return with_tensors(like, {name: tensor for name, tensor in tensors.items() if name not in constants})


def mix(tensor: Tensor, axis: Axis, units: int, matrix: Float[Tensor, "new old"]) -> Tensor:
    """Return the tensor with the units along `axis` replaced by matrix @ units; other indices of the dimension stay.

    tensor: of any shape. matrix: (new units, units), of the tensor's dtype. Gradients flow through both.
    """
    rows = tensor.movedim(axis.dim, 0)
    end = axis.offset + units * axis.block
    mixed = (matrix @ rows[axis.offset : end].reshape(units, -1)).reshape(len(matrix) * axis.block, *rows.shape[1:])
    whole = axis.offset == 0 and end == len(rows)
    return (mixed if whole else torch.cat([rows[: axis.offset], mixed, rows[end:]])).movedim(0, axis.dim)


def _map_axis(tensor: Tensor, pairs: list[tuple[Axis, Group]], maps: Mapping[str, UnitMap], *, squared: bool) -> Tensor:
    """Return the tensor with the mapped units of one dimension replaced; the rest of the dimension stays."""
    mapped_tensor = tensor.double()
    for axis, group in sorted(pairs, key=lambda pair: -pair[0].offset):  # from the end, to keep earlier offsets valid
        matrix = (maps[group.name].use.T if axis.used else maps[group.name].make).to(mapped_tensor)
        mapped_tensor = mix(mapped_tensor, axis, group.size, matrix.square() if squared else matrix)
    return mapped_tensor.to(tensor.dtype)
