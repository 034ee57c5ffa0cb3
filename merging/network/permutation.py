"""Permutations of a network's units: the tensor axes that are permuted together, and functions that permute them.

A `Group` is a set of tensor axes that must share one permutation so that the network computes the same function.
Inputs and class logits are in no group. Convention everywhere: **new unit i is old unit p[i]**.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from merging.errors import IncompatibleModels
from merging.network.copying import copied

Permutation = dict[str, Tensor]  # group -> (units,) int64


@dataclass(frozen=True)
class Axis:
    """The position of a group's units in a tensor.

    Unit i occupies the indices offset + i*block ... offset + (i+1)*block - 1 of dimension `dim`.

    Attributes:
        parameter: the tensor's name.
        dim: the dimension of the tensor.
        block: indices per unit; above 1 after a flatten (H*W indices per unit).
        offset: the first unit's first index; above 0 after a concatenation or a zero-padded shortcut.
        used: True if a layer sums over the units along this axis, as over the inputs of a linear layer. False if the
            tensor produces or scales the units.
    """

    parameter: str
    dim: int
    block: int = 1
    offset: int = 0
    used: bool = False


@dataclass(frozen=True)
class Site:
    """A value in the graph where a group's activations can be read. Unit i is index offset + i of the dimension.

    After a concatenation or a padded shortcut, the dimension also holds other units.

    Attributes:
        node: the graph node.
        dim: the dimension of the node's value that holds the units.
        layer: the layer's name in torch.
        offset: the first unit's index.
    """

    node: str
    dim: int
    layer: str
    offset: int = 0


@dataclass(frozen=True)
class Group:
    """Tensor axes that are permuted together.

    Attributes:
        name: the first layer that produces the units.
        size: number of units.
        axes: where the units lie in the tensors.
        nodes: where the activations can be read, in network order.
        linear: whether an alignment may also mix units linearly, because every axis either produces the units or
            is summed over. False for the channels of a depthwise convolution, for attention heads and the units inside
            them, and for tied weights.
    """

    name: str
    size: int
    axes: tuple[Axis, ...]
    nodes: tuple[Site, ...] = ()
    linear: bool = True

    @property
    def places(self) -> tuple[str, ...]:
        """One line per axis: "makes features.0.weight, dimension 0", or "uses ..." where a layer sums over units."""
        return tuple(_place(axis, self.size) for axis in self.axes)


@dataclass(frozen=True)
class PermutationSpec:
    """All groups of a network that can be permuted.

    Attributes:
        groups: in network order.
        pinned: name of a group that must not be permuted -> the constant that its permutation would change.
    """

    groups: tuple[Group, ...]
    pinned: Mapping[str, str] = field(default_factory=dict, compare=False)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Group name -> number of units."""
        return {group.name: group.size for group in self.groups}

    @cached_property
    def by_parameter(self) -> dict[str, tuple[tuple[Axis, Group], ...]]:
        """Tensor name -> the (axis, group) pairs that lie on it."""
        by_name: dict[str, list[tuple[Axis, Group]]] = {}
        for group in self.groups:
            for axis in group.axes:
                by_name.setdefault(axis.parameter, []).append((axis, group))
        return {name: tuple(pairs) for name, pairs in by_name.items()}

    def identity(self) -> Permutation:
        """Return the permutation that leaves every unit in its place."""
        return {name: torch.arange(size) for name, size in self.sizes.items()}

    def random(self, seed: int) -> Permutation:
        """Return a uniformly random permutation per group; it depends only on the group names, sizes and `seed`."""
        rng = np.random.default_rng(seed)
        return {name: torch.from_numpy(rng.permutation(size)) for name, size in self.sizes.items()}


def _place(axis: Axis, units: int) -> str:
    where = f"{'uses' if axis.used else 'makes'} {axis.parameter}, dimension {axis.dim}"
    if axis.block == 1 and axis.offset == 0:
        return where
    return f"{where}, elements {axis.offset} to {axis.offset + axis.block * units - 1} in blocks of {axis.block}"


def restricted(spec: PermutationSpec, names: Container[str]) -> PermutationSpec:
    """Return the same groups with only the axes that lie on the tensors in `names`."""
    groups = (replace(group, axes=tuple(a for a in group.axes if a.parameter in names)) for group in spec.groups)
    return PermutationSpec(tuple(groups))


def invert(permutation: Permutation) -> Permutation:
    """Return the inverse permutation q, so that p[q[i]] = i. Shapes (units,) int64 per group."""
    return {name: torch.argsort(p) for name, p in permutation.items()}


def compose(second: Permutation, first: Permutation) -> Permutation:
    """Return one permutation (units,) per group that equals permuting by `first` and then by `second`."""
    return {name: first[name][p] for name, p in second.items()}


def permute_tensors(
    tensors: Mapping[str, Tensor], spec: PermutationSpec, permutation: Permutation
) -> dict[str, Tensor]:
    """Return new tensors with every group's axes permuted; tensors that no group touches are returned unchanged.

    Args:
        tensors: name -> tensor of any shape (a state dict).
        spec: the groups.
        permutation: group -> (units,) int64.
    Raises:
        IncompatibleModels: when a group's permutation does not fit its size.
    """
    _check(spec, permutation)
    moved = dict(tensors)
    for name, pairs in spec.by_parameter.items():
        for dim in sorted({axis.dim for axis, _ in pairs}):
            index = torch.arange(moved[name].shape[dim])
            for axis, group in pairs:
                if axis.dim == dim:
                    end = axis.offset + group.size * axis.block
                    units = index[axis.offset : end].view(group.size, axis.block)  # a nested group may have moved it
                    index[axis.offset : end] = units[permutation[group.name].cpu()].flatten()
            moved[name] = moved[name].index_select(dim, index.to(moved[name].device))
    return moved


def permute(model: nn.Module, spec: PermutationSpec, permutation: Permutation) -> nn.Module:
    """Return a new module with its units re-ordered: unit i of the result is unit permutation[group][i] of `model`.

    `model` is not changed. Raises IncompatibleModels where a group's permutation does not fit its size.
    """
    tensors = named_tensors(model)
    return with_tensors(model, permute_tensors(tensors, spec, permutation))


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, detached; a tied tensor appears once, under its first name."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach() for name, tensor in named}


def with_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of `model` in eval mode with these tensors; tied tensors stay tied.

    tensors: name -> tensor, of the shapes that the model has.
    """
    twin = copied(model)
    own = named_tensors(twin)
    for name, tensor in tensors.items():
        own[name].copy_(tensor)
    for layer in twin.modules():
        if isinstance(layer, nn.RNNBase):
            layer.flatten_parameters()  # copying scatters the weights in GPU memory, and cuDNN would warn at every call
    return twin


def _check(spec: PermutationSpec, permutation: Permutation) -> None:
    for name, size in spec.sizes.items():
        p = permutation.get(name)
        if p is None or p.shape != (size,) or not torch.equal(torch.sort(p.cpu()).values, torch.arange(size)):
            raise IncompatibleModels(
                f"Group {name} has {size} units; its permutation must hold 0..{size - 1} once each."
            )
