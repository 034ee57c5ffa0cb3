"""Features of one network's layers on the same images, read in one pass that stops at the last layer needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from merging.analysis.activations.read import flattened, named_layers, pooled
from merging.network.data import Batches
from merging.network.graph.graph import Graph, Layer

BATCH = 64  # images per pass: few enough that a layer's output is still in the processor's cache when it is read


@torch.no_grad()
def read_layers(
    graph: Graph,
    tensors: Mapping[str, Tensor],
    data: Batches,
    layers: Sequence[Layer] | None = None,
    *,
    flat: bool = False,
) -> list[Tensor]:
    """Read the features (n, features) of every layer: layers in network order, rows in the order of the images.

    Args:
        layers: the layers to read; by default those of `named_layers`.
        flat: read a convolution's output at every position, (n, units * positions), instead of its mean over positions,
            (n, units).

    Memory: images x features, float32. Raises InvalidRequest for a layer that cannot be read image by image.
    """
    by_node = {layer.node: layer for layer in (named_layers(graph, None) if layers is None else layers)}
    parts: dict[str, list[Tensor]] = {node: [] for node in by_node}
    for images, _ in data.sized(min(BATCH, data.size)):
        for node, value in graph.walk(tensors, graph.ordered(images), by_node):
            layer = by_node[node]
            # flattened() may return a view of the value, which the next operation may overwrite
            parts[node].append(flattened(value, layer).clone() if flat else pooled(value, layer))
    return [torch.cat(part) for part in parts.values()]
