"""Receptive field of each layer, measured by propagating NaN from the input to the layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from merging.analysis.activations.read import by_unit, is_plane
from merging.network.graph.graph import Graph, Layer

BANDS = 32  # number of bands that the image's rows are divided into; a share is exact to one band


@torch.inference_mode()
def receptive_shares(graph: Graph, tensors: Mapping[str, Tensor], example: Tensor) -> dict[str, float]:
    """Measure the share of the image's rows, in 0..1, that each layer's central position depends on: node -> share.

    The share is 1 for layers without positions and for layers that cannot be read image by image. The bands of rows are
    set to NaN one after another. The position depends on a band if and only if it becomes NaN, whatever operations lie
    in between. The computation is in float64 on the CPU, because float32 convolutions may mix neighbouring positions.
    The central position is measured, because receptive fields at the border are cut off; only rows inside the image
    count.

    example: (n, C, H, W), of which the first image is used. For inputs with another number of dimensions, every share
    is 1.
    """
    whole = dict.fromkeys((layer.node for layer in graph.layers), 1.0)
    layers = {layer.node: layer for layer in graph.layers if layer.images is not None and layer.images.alone}
    if example.ndim != 4:
        return whole
    weights = {name: _exact(tensor) for name, tensor in tensors.items()}
    image = _exact(example[:1])
    rows = torch.arange(image.shape[2]) * min(BANDS, image.shape[2]) // image.shape[2]
    counts = dict.fromkeys(layers, 0)
    for band in rows.unique().tolist():
        nan_image = image.clone()
        nan_image[:, :, rows == band] = torch.nan
        size = int((rows == band).sum())
        for node, value in graph.walk(weights, nan_image, layers):
            counts[node] += size if _central(value, layers[node]).isnan().any() else 0
    return whole | {node: count / len(rows) for node, count in counts.items()}


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double() if tensor.is_floating_point() else tensor.detach().cpu()


def _central(value: Tensor, layer: Layer) -> Tensor:
    units = by_unit(value, layer)
    if not is_plane(layer):
        return units
    height, width = layer.positions
    return units[:, :, height // 2 * width + width // 2]
