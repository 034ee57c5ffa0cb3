"""Values of layers on images, as (images, units, positions), as means over positions, or flattened.

A layer's value is its output on a batch; `Layer.images` records which dimension of the value holds the images. Tokens
and windows count as positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from merging.errors import InvalidRequest, InvalidSetting
from merging.network.graph.graph import Graph, Layer
from merging.network.permutation import PermutationSpec


def by_unit(value: Tensor, layer: Layer) -> Tensor:
    """Rearrange a layer's value to (n, units, positions), in the order of `layer.positions`; 1 position if it has none.

    value: the layer's value for any number n of images. Raises InvalidRequest as `check_readable` does.
    """
    check_readable(layer)
    axis = layer.images
    assert axis is not None
    units = value.movedim((axis.dim, layer.dim), (0, 1))
    if axis.outer * axis.inner > 1:
        units = units.unflatten(0, (axis.outer, -1, axis.inner)).movedim((1, 3), (0, 1))
    return units.flatten(2) if units.ndim > 2 else units[:, :, None]


def pooled(value: Tensor, layer: Layer) -> Tensor:
    """Mean of a layer's value over positions, (n, units), in float32 or wider. value: for any number n of images."""
    units = by_unit(value, layer)
    return units.mean(2, dtype=torch.promote_types(value.dtype, torch.float32))


def flattened(value: Tensor, layer: Layer) -> Tensor:
    """Return a layer's value, (n, ...) for n images, flattened unit by unit: (n, units * positions)."""
    return by_unit(value, layer).flatten(1)


def after_nonlinearity(graph: Graph, layer: Layer) -> Layer:
    """Return the activation that alone reads this layer, directly or through a norm; the layer itself if there is none.

    What the rest of the network sees of a unit is its value after the nonlinearity: a rectified unit is never negative.
    """
    by_node = {one.node: one for one in graph.layers}
    users = {node.name: list(node.users) for node in graph.nodes}
    last = layer
    while last.kind != "activation":
        reads = users[last.node]
        following = by_node.get(reads[0].name) if len(reads) == 1 else None
        fits = following is not None and following.kind in ("norm", "activation") and _alike(following, layer)
        if following is None or not fits:
            return layer
        last = following
    return last


def is_plane(layer: Layer) -> bool:
    """Whether the layer's positions are rows and columns of a picture, judged by the shape of its value."""
    axis = layer.images
    return len(layer.positions) == 2 and axis is not None and axis.outer * axis.inner == 1


def _alike(one: Layer, other: Layer) -> bool:
    """Whether two layers have the same units at the same positions, in the same order of dimensions."""
    return (one.units, one.dim, one.positions, one.images) == (other.units, other.dim, other.positions, other.images)


def check_readable(layer: Layer) -> None:
    """Raise InvalidRequest for a layer that cannot be read image by image; the error names the layer and the remedy."""
    if layer.images is None:
        raise InvalidRequest(
            f"It is unknown which dimension of the output of {layer.name} holds the images of a batch, so the layer "
            "cannot be read image by image. Choose a layer before or after it."
        )
    if not layer.images.alone:
        raise InvalidRequest(
            f"{layer.name} mixes the images of a batch: its output for one image depends on the other images, as it "
            "does after a BatchNorm without running statistics. Let such layers keep running statistics "
            "(track_running_stats=True, then run the network on training images in training mode), use GroupNorm, or "
            "choose a layer before them."
        )


def walk_together(
    graph: Graph, nets: Sequence[Mapping[str, Tensor]], images: Tensor, layers: Sequence[Layer]
) -> Iterator[tuple[Layer, list[Tensor]]]:
    """Yield each layer, in network order, with its value in every network on the same images (n, ...).

    The networks advance together layer by layer, so memory is that of one pass times the number of networks, whatever
    the depth.
    """
    by_node, ordered = {layer.node: layer for layer in layers}, graph.ordered(images)
    for steps in zip(*(graph.walk(tensors, ordered, by_node) for tensors in nets), strict=True):
        yield by_node[steps[0][0]], [value for _, value in steps]


def named_layers(graph: Graph, names: Sequence[str] | None) -> tuple[Layer, ...]:
    """Return the layers of these names, in network order without repetition; None: all layers with an image dimension.

    Raises UnknownLayer, InvalidSetting where `names` is empty, and InvalidRequest as `check_readable` does.
    """
    if names is not None and not names:
        raise InvalidSetting("No layer is named. Name at least one layer, or omit the list to take all layers.")
    nodes = None if names is None else {graph.layer(name).node for name in names}
    layers = graph.layers if nodes is None else [layer for layer in graph.layers if layer.node in nodes]
    selection = tuple(layer for layer in layers if layer.images is not None or nodes is not None)
    for layer in selection:
        check_readable(layer)
    return selection


def groups_by_node(graph: Graph, spec: PermutationSpec) -> dict[str, str]:
    """Layer node -> name of the group that permutes its units, for the layers whose units form exactly one group."""
    by_site = {(site.node, site.dim): group for group in spec.groups for site in group.nodes}
    pairs = ((layer, by_site.get((layer.node, layer.dim))) for layer in graph.layers)
    return {layer.node: group.name for layer, group in pairs if group is not None and group.size == layer.units}
