"""Variance of a network's units, layer by layer, which is reduced by averaging weights (variance collapse)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from merging.analysis.activations.features import BATCH
from merging.analysis.activations.read import by_unit, named_layers
from merging.network.data import Batches
from merging.network.graph.graph import Graph
from merging.network.permutation import named_tensors


@torch.no_grad()
def variances(graph: Graph, net: nn.Module, data: Batches) -> list[Tensor]:
    """Variance (units,) float64 over images and positions, for each layer of `named_layers(graph, None)`.

    Mean and deviations are computed per batch and combined over batches (Chan et al. 1983), to preserve precision.
    """
    tensors, by_node = named_tensors(net), {layer.node: layer for layer in named_layers(graph, None)}
    count: dict[str, int] = {}
    mean: dict[str, Tensor] = {}
    square: dict[str, Tensor] = {}
    for images, _ in data.sized(min(BATCH, data.size)):
        for node, value in graph.walk(tensors, graph.ordered(images), by_node):
            units = by_unit(value, by_node[node]).double()
            size, own = units.shape[0] * units.shape[2], units.mean((0, 2))
            deviation = (units - own[:, None]).square().sum((0, 2))
            if node in count:
                gap, whole = own - mean[node], count[node] + size
                square[node] += deviation + gap.square() * (count[node] * size / whole)
                mean[node] += gap * (size / whole)
                count[node] = whole
            else:
                count[node], mean[node], square[node] = size, own, deviation
    return [square[node] / count[node] for node in by_node]
