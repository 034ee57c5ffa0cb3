"""Permutations of a network's units: which tensor axes move together, and moving them.

A `Group` is a set of tensor axes that must be permuted by one permutation for the network to compute the same function.
Inputs and class logits are in no group. Convention everywhere: **new unit i is old unit p[i]**.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from merging.errors import IncompatibleModels
from merging.network.copying import copied

Permutation = dict[str, Tensor]  # group -> (units,) int64


@dataclass(frozen=True)
class Axis:
    """Where a group's units lie in a tensor: unit i is elements offset + i*block ... offset + (i+1)*block - 1 of `dim`.

    block > 1 after a flatten (H*W elements a unit); offset > 0 behind a concatenation or a zero-padded shortcut.
    used: the units are summed over here, as along a linear layer's inputs; else they are made or scaled here.
    """

    parameter: str
    dim: int
    block: int = 1
    offset: int = 0
    used: bool = False


@dataclass(frozen=True)
class Site:
    """A place where a group's units can be seen running: graph node, the dimension that holds them, torch layer name.

    Unit i is index offset + i of the dimension; it holds other units too behind a concatenation or a padded shortcut.
    """

    node: str
    dim: int
    layer: str
    offset: int = 0


@dataclass(frozen=True)
class Group:
    """Axes that move together. `name` is the layer that makes the units first; `nodes` are in network order.

    linear: mixtures of units have a meaning too, so that an alignment may map them: every axis either makes the units
    or uses them. Not so for a depthwise convolution's channels, for heads and the units inside them, for tied weights.
    """

    name: str
    size: int
    axes: tuple[Axis, ...]
    nodes: tuple[Site, ...] = ()
    linear: bool = True

    @property
    def places(self) -> tuple[str, ...]:
        """Where its units lie, a line an axis: "makes features.0.weight, dimension 0"."""
        return tuple(_place(axis, self.size) for axis in self.axes)


@dataclass(frozen=True)
class PermutationSpec:
    """All groups of a network, in network order."""

    groups: tuple[Group, ...]

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Group name -> number of units."""
        return {group.name: group.size for group in self.groups}

    @cached_property
    def by_parameter(self) -> dict[str, tuple[tuple[Axis, Group], ...]]:
        """Tensor name -> the (axis, group) pairs that lie on it."""
        found: dict[str, list[tuple[Axis, Group]]] = {}
        for group in self.groups:
            for axis in group.axes:
                found.setdefault(axis.parameter, []).append((axis, group))
        return {name: tuple(pairs) for name, pairs in found.items()}

    def identity(self) -> Permutation:
        """The permutation that moves nothing."""
        return {name: torch.arange(size) for name, size in self.sizes.items()}

    def random(self, seed: int) -> Permutation:
        """A uniform permutation of every group; a function of the group names, sizes and `seed` alone."""
        rng = np.random.default_rng(seed)
        return {name: torch.from_numpy(rng.permutation(size)) for name, size in self.sizes.items()}


def _place(axis: Axis, units: int) -> str:
    where = f"{'uses' if axis.used else 'makes'} {axis.parameter}, dimension {axis.dim}"
    if axis.block == 1 and axis.offset == 0:
        return where
    return f"{where}, elements {axis.offset} to {axis.offset + axis.block * units - 1} in blocks of {axis.block}"


def restricted(spec: PermutationSpec, names: Container[str]) -> PermutationSpec:
    """The same groups with only the axes that lie on these tensors."""
    groups = (replace(group, axes=tuple(a for a in group.axes if a.parameter in names)) for group in spec.groups)
    return PermutationSpec(tuple(groups))


def invert(permutation: Permutation) -> Permutation:
    """The permutation q with q after p the identity: p[q[i]] = i. Shapes (units,) int64 per group."""
    return {name: torch.argsort(p) for name, p in permutation.items()}


def compose(second: Permutation, first: Permutation) -> Permutation:
    """One permutation (units,) per group that equals permuting by `first` and then by `second`."""
    return {name: first[name][p] for name, p in second.items()}


def permute_tensors(
    tensors: Mapping[str, Tensor], spec: PermutationSpec, permutation: Permutation
) -> dict[str, Tensor]:
    """New tensors with every group's axes permuted; tensors that no group touches are returned as they are.

    tensors: name -> tensor of any shape (a state dict). Raises IncompatibleModels where a group's permutation does not
    fit its size.
    """
    _check(spec, permutation)
    moved = dict(tensors)
    for name, pairs in spec.by_parameter.items():
        for dim in sorted({axis.dim for axis, _ in pairs}):
            index = torch.arange(moved[name].shape[dim])
            for axis, group in pairs:
                if axis.dim == dim:
                    end = axis.offset + group.size * axis.block
                    units = index[axis.offset : end].view(group.size, axis.block)  # moved already, where groups nest
                    index[axis.offset : end] = units[permutation[group.name].cpu()].flatten()
            moved[name] = moved[name].index_select(dim, index.to(moved[name].device))
    return moved


def permute(model: nn.Module, spec: PermutationSpec, permutation: Permutation) -> nn.Module:
    """A new module with its units re-ordered: unit i of the result is unit permutation[group][i] of `model`.

    `model` is left as it is. Raises IncompatibleModels where a group's permutation does not fit its size.
    """
    tensors = named_tensors(model)
    return with_tensors(model, permute_tensors(tensors, spec, permutation))


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, detached; a tied tensor appears once, under its first name."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach() for name, tensor in named}


def with_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A copy of `model` in eval mode that holds `tensors`, names and shapes as in `named_tensors`; ties are kept."""
    twin = copied(model)
    own = named_tensors(twin)
    for name, tensor in tensors.items():
        own[name].copy_(tensor)
    for layer in twin.modules():
        if isinstance(layer, nn.RNNBase):
            layer.flatten_parameters()  # on a GPU a copy's weights lie apart, which cuDNN warns of at every call
    return twin


def _check(spec: PermutationSpec, permutation: Permutation) -> None:
    for name, size in spec.sizes.items():
        p = permutation.get(name)
        if p is None or p.shape != (size,) or not torch.equal(torch.sort(p.cpu()).values, torch.arange(size)):
            raise IncompatibleModels(
                f"Group {name} has {size} units; its permutation must hold 0..{size - 1} once each."
            )
