"""What layers give on images: read as (images, units, positions), as means over the positions, or in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from merging.errors import InvalidSetting
from merging.graph import Graph, Layer
from merging.permutation import PermutationSpec


def by_unit(value: Tensor, dim: int) -> Tensor:
    """A layer's value with the units in `dim` as (n, units, positions); one position where it has none."""
    return value.movedim(dim, 1).flatten(2) if value.ndim > 2 else value[:, :, None]


def pooled(value: Tensor, dim: int) -> Tensor:
    """(n, units): the mean over the positions, in at least float32."""
    units = by_unit(value, dim)
    return units.mean(2, dtype=torch.promote_types(value.dtype, torch.float32))


def flattened(value: Tensor, dim: int) -> Tensor:
    """Of shape (n, units * positions): every number of the layer, unit by unit."""
    return by_unit(value, dim).flatten(1)


def walk_together(
    graph: Graph, nets: Sequence[Mapping[str, Tensor]], images: Tensor, layers: Sequence[Layer]
) -> Iterator[tuple[Layer, list[Tensor]]]:
    """Each layer with its value in every network, in network order, on the same images (n, ...).

    The networks run side by side, so that memory holds what one pass needs, times the networks, whatever the depth.
    """
    by_node, ordered = {layer.node: layer for layer in layers}, graph.ordered(nets[0], images)
    for steps in zip(*(graph.walk(tensors, ordered, by_node) for tensors in nets), strict=True):
        yield by_node[steps[0][0]], [value for _, value in steps]


def named_layers(graph: Graph, names: Sequence[str] | None) -> tuple[Layer, ...]:
    """The layers of these names in network order, without repetition; all of them for None.

    Raises UnknownLayer, and InvalidSetting where no name is given.
    """
    if names is None:
        return graph.layers
    if not names:
        raise InvalidSetting("No layer is named; name one or more, or leave the names out to take all.")
    wanted = {graph.layer(name).node for name in names}
    return tuple(layer for layer in graph.layers if layer.node in wanted)


def groups_by_node(graph: Graph, spec: PermutationSpec) -> dict[str, str]:
    """Layer node -> the group that its units are, for the layers whose units carry exactly one group."""
    found = {(site.node, site.dim): group for group in spec.groups for site in group.nodes}
    pairs = ((layer, found.get((layer.node, layer.dim))) for layer in graph.layers)
    return {layer.node: group.name for layer, group in pairs if group is not None and group.size == layer.units}
