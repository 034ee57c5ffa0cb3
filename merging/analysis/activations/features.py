"""All layers' features of one network on the same images, in one pass; and one layer's, which runs no further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from merging.analysis.activations.read import flattened, named_layers, pooled
from merging.network.data import Batches
from merging.network.graph.graph import Graph, Layer

BATCH = 64  # images a pass: what a layer writes is still in the processor's cache when it is read


@torch.no_grad()
def read_layers(
    graph: Graph,
    tensors: Mapping[str, Tensor],
    data: Batches,
    layers: Sequence[Layer] | None = None,
    *,
    flat: bool = False,
) -> list[Tensor]:
    """(n, features) of every layer (default: as `named_layers` gives them), in network order and the images' order.

    flat: every number of a convolution, (n, units * positions), else its mean over positions, (n, units).
    Memory: images x features, float32.  Raises InvalidRequest for a layer that cannot be read image by image.
    """
    wanted = {layer.node: layer for layer in (named_layers(graph, None) if layers is None else layers)}
    parts: dict[str, list[Tensor]] = {node: [] for node in wanted}
    for images, _ in data.sized(min(BATCH, data.size)):
        for node, value in graph.walk(tensors, graph.ordered(tensors, images), wanted):
            layer = wanted[node]
            # flat may be a view of the value, and the next operation may overwrite that
            parts[node].append(flattened(value, layer).clone() if flat else pooled(value, layer))
    return [torch.cat(part) for part in parts.values()]
