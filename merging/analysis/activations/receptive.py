"""How much of the image one position of a layer sees: its receptive field, found by following what is not a number."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from merging.analysis.activations.read import by_unit, is_plane
from merging.network.graph.graph import Graph, Layer

BANDS = 32  # the image's rows are spoilt in this many bands; a share is exact to one band


@torch.inference_mode()
def receptive_shares(graph: Graph, tensors: Mapping[str, Tensor], example: Tensor) -> dict[str, float]:
    """Layer node -> share of the image's rows that its central position depends on, in 0..1; 1 without positions,
    and for layers that cannot be read image by image.

    example: (n, C, H, W), of which the first image is used; other inputs have no rows, and every share is 1.
    Every band of rows in turn is made NaN: the position sees the band exactly if it becomes NaN too, whatever the
    operations between them are. In float64 on the CPU, since float32 convolutions may mix neighbouring positions.
    Border positions see less, so the centre is the measure; the figure counts rows inside the image.
    """
    whole = dict.fromkeys((layer.node for layer in graph.layers), 1.0)
    layers = {layer.node: layer for layer in graph.layers if layer.images is not None and layer.images.alone}
    if example.ndim != 4:
        return whole
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
    return whole | {node: count / len(rows) for node, count in seen.items()}


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double() if tensor.is_floating_point() else tensor.detach().cpu()


def _central(value: Tensor, layer: Layer) -> Tensor:
    units = by_unit(value, layer)
    if not is_plane(layer):
        return units
    height, width = layer.positions
    return units[:, :, height // 2 * width + width // 2]
