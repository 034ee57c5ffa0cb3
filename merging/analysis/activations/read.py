"""What layers give on images: read as (images, units, positions), as means over the positions, or in full.

Where a value holds the images is known of every layer (`Layer.images`); tokens and windows are positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from merging.errors import InvalidRequest, InvalidSetting
from merging.network.graph.graph import Graph, Layer
from merging.network.permutation import PermutationSpec


def by_unit(value: Tensor, layer: Layer) -> Tensor:
    """A layer's value as (n, units, positions); one position where it has none, in the order of `layer.positions`.

    value: for n images, any n.  Raises InvalidRequest as `check_readable` does.
    """
    check_readable(layer)
    axis = layer.images
    assert axis is not None
    units = value.movedim((axis.dim, layer.dim), (0, 1))
    if axis.outer * axis.inner > 1:
        units = units.unflatten(0, (axis.outer, -1, axis.inner)).movedim((1, 3), (0, 1))
    return units.flatten(2) if units.ndim > 2 else units[:, :, None]


def pooled(value: Tensor, layer: Layer) -> Tensor:
    """(n, units): the mean over the positions, in at least float32. value: of any n images."""
    units = by_unit(value, layer)
    return units.mean(2, dtype=torch.promote_types(value.dtype, torch.float32))


def flattened(value: Tensor, layer: Layer) -> Tensor:
    """Of shape (n, units * positions): every number of the layer, unit by unit. value: of any n images."""
    return by_unit(value, layer).flatten(1)


def is_plane(layer: Layer) -> bool:
    """Whether the layer's positions are the rows and columns of a picture, as far as its shape tells."""
    axis = layer.images
    return len(layer.positions) == 2 and axis is not None and axis.outer * axis.inner == 1


def check_readable(layer: Layer) -> None:
    """Raises InvalidRequest for a layer that cannot be read image by image, naming it and what to do."""
    if layer.images is None:
        raise InvalidRequest(
            f"Where the images of a batch lie in the value of {layer.name} cannot be told, so it is not read image by "
            "image. Choose a layer before or after it."
        )
    if not layer.images.alone:
        raise InvalidRequest(
            f"{layer.name} mixes the images: its value for one image depends on the others in the batch, as behind a "
            "BatchNorm without running statistics. Let such norms keep running statistics (track_running_stats=True, "
            "then pass training images in training mode), use GroupNorm, or choose a layer before them."
        )


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
    """The layers of these names in network order, without repetition; for None all that hold the images.

    Raises UnknownLayer, InvalidSetting where no name is given, and InvalidRequest as `check_readable` does.
    """
    if names is not None and not names:
        raise InvalidSetting("No layer is named; name one or more, or leave the names out to take all.")
    wanted = None if names is None else {graph.layer(name).node for name in names}
    layers = graph.layers if wanted is None else [layer for layer in graph.layers if layer.node in wanted]
    chosen = tuple(layer for layer in layers if layer.images is not None or wanted is not None)
    for layer in chosen:
        check_readable(layer)
    return chosen


def groups_by_node(graph: Graph, spec: PermutationSpec) -> dict[str, str]:
    """Layer node -> the group that its units are, for the layers whose units carry exactly one group."""
    found = {(site.node, site.dim): group for group in spec.groups for site in group.nodes}
    pairs = ((layer, found.get((layer.node, layer.dim))) for layer in graph.layers)
    return {layer.node: group.name for layer, group in pairs if group is not None and group.size == layer.units}
