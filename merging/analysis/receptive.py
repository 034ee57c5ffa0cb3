"""How much of the image one position of a layer sees: its receptive field, found by following what is not a number."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from merging.analysis.activations import by_unit
from merging.graph import Graph, Layer

BANDS = 32  # the image's rows are spoilt in this many bands; a share is exact to one band


@torch.inference_mode()
def receptive_shares(graph: Graph, tensors: Mapping[str, Tensor], example: Tensor) -> dict[str, float]:
    """Layer node -> share of the image's rows that its central position depends on, in 0..1; 1 without positions.

    example: (n, C, H, W), of which the first image is used; other inputs have no rows, and every share is 1.
    Every band of rows in turn is made NaN: the position sees the band exactly if it becomes NaN too, whatever the
    operations between them are. In float64 on the CPU, since float32 convolutions may mix neighbouring positions.
    Border positions see less, so the centre is the measure; the figure counts rows inside the image.
    """
    layers = {layer.node: layer for layer in graph.layers}
    if example.ndim != 4:
        return dict.fromkeys(layers, 1.0)
    weights = {name: _exact(tensor) for name, tensor in tensors.items()}
    image = _exact(example[:1])
    rows = torch.arange(image.shape[2]) * min(BANDS, image.shape[2]) // image.shape[2]
    seen = dict.fromkeys(layers, 0)
    for band in rows.unique().tolist():
        spoilt = image.clone()
        spoilt[:, :, rows == band] = torch.nan
        size = int((rows == band).sum())
        for node, value in graph.walk(weights, spoilt, layers):
            seen[node] += size if _central(value, layers[node]).isnan().any() else 0
    return {node: count / len(rows) for node, count in seen.items()}


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double() if tensor.is_floating_point() else tensor.detach().cpu()


def _central(value: Tensor, layer: Layer) -> Tensor:
    units = value.movedim(layer.dim, 1)
    return units[:, :, units.shape[2] // 2, units.shape[3] // 2] if units.ndim == 4 else by_unit(value, layer.dim)
