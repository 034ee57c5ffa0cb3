"""CKA of all layers from minibatches, at little more than the cost of the forward passes and in constant memory.

A linear HSIC is the squared norm of a covariance, |C|^2. Each random minibatch is split into two parts I and J. The
covariances of the two parts are independent of each other and unbiased, so their product is unbiased too, however few
images the parts hold (the cross-HSIC of Shekhar, Kim and Ramdas 2023):

    (|I| - 1) (|J| - 1) <C_I, C_J> = sum_ij K_ij L_ij,    K, L = X_I X_J', Y_I Y_J', rows and columns centred

The expectation of this sum is HSIC_1 of all images, as is the expectation of a minibatch's HSIC_1 (Nguyen et al. 2021,
eq. 3). The sum needs half the products for the same noise, and no CKA leaves [-1, 1]. As in that paper, the HSICs are
first summed over the minibatches and then divided: a mean of the minibatches' ratios would be biased.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from math import prod
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from merging.analysis.activations.read import flattened, pooled
from merging.analysis.similarity.hsic import above_rounding, centred, check_images, cka_ratio
from merging.errors import InvalidSetting
from merging.network.data import Batches
from merging.network.graph.graph import Graph, Layer
from merging.network.graph.image_axes import ImageAxis
from merging.progress import Progress, no_progress

Side = tuple[Graph, Mapping[str, Tensor], Sequence[Layer]]
IMAGES = 512  # images whose products are held at once
NUMBERS = 5 * 2**17  # numbers that a layer writes per pass: few enough to stay in the processor's cache until read
PASS = 48  # least number of images per pass
LITTLE = 1e-4  # relative to the products: where centring leaves less, too many significant digits are lost
LEAST, MOST = 4, IMAGES  # least and most images per minibatch
FIRST = ImageAxis(0)  # the dimension of the images in most layers
CUT = 3  # a third of each minibatch is multiplied with the rest: least noise per computing time


@torch.no_grad()
def by_minibatches(
    sides: Sequence[Side],
    batches: Batches,
    size: int,
    treatment: Literal["pooled", "flattened"],
    *,
    seed: int = 0,
    report: Progress | None = None,
) -> tuple[np.ndarray, int]:
    """Estimate two networks' CKA from unbiased HSICs; return it, (L1, L2) float64, and the number of images used.

    Args:
        sides: for each network, (graph, tensors, layers to compare).
        size: images per minibatch, 4 to 512; images left over after the last whole minibatch are not used.
        seed: decides which images share a minibatch.

    Memory: 114 x size x layers float64 per network, and the layer outputs of a pass of 48 to 512 images.
    Raises InvalidSetting, DataUnavailable.
    """
    if not LEAST <= size <= MOST:
        raise InvalidSetting(
            f"Minibatches of {size} images were requested; choose {LEAST} to {MOST}, or compare all images at once."
        )
    check_images(batches.count, True)
    size = min(size, batches.count)
    sample = batches.sample(batches.count, seed).sized(IMAGES // size * size)  # the data may be sorted by class
    sums: list[Tensor] = []
    seen = 0
    for images, _ in sample:
        whole = images[: len(images) // size * size]
        seen += len(images)
        if len(whole):
            x, y = (_products(side, side[0].ordered(whole), size, treatment) for side in sides)
            batch_sums = [x @ y.T, x.square().sum(1), y.square().sum(1)]
            sums = [one + more for one, more in zip(sums, batch_sums, strict=True)] if sums else batch_sums
        (report or no_progress)("similarity", seen / batches.count, f"{seen} of {batches.count} images")
    return cka_ratio(*sums), batches.count // size * size


def _products(side: Side, images: Tensor, size: int, treatment: Literal["pooled", "flattened"]) -> Tensor:
    """Centred products of each minibatch's two parts (a and b images), L layers, m minibatches: (L, m a b) float64.

    Features are multiplied first and the products centred afterwards, which gives the products of centred features.
    Where features vary so little relative to their mean that this loses significant digits, they are centred first by
    `hsic.centred`, which sets units that vary only by rounding to exactly 0. A layer's products that may be only
    rounding errors are set to 0, as in `hsic.Grams`.
    """
    layers = side[2]
    products, norms = doubly_centred(_read(side, images, size, treatment))
    imprecise = (products.square().sum(1) <= LITTLE**2 * norms) & (norms > 0)
    if bool(imprecise.any()):
        affected = [layer for layer, one in zip(layers, imprecise.tolist(), strict=True) if one]
        clear, norms = doubly_centred(_read((*side[:2], affected), images, size, treatment, centred))
        own = above_rounding(clear.square().sum(1), norms)
        products[imprecise] = clear * (own > 0)[:, None]
    return products


def _read(
    side: Side,
    images: Tensor,
    size: int,
    treatment: Literal["pooled", "flattened"],
    prepare: Callable[[Tensor], Tensor] = lambda features: features,
) -> Tensor:
    """Products of the two parts of m minibatches, (L, m, a, b). prepare: applied to the features (n, p) first."""
    graph, tensors, layers = side
    by_node = {layer.node: layer for layer in layers}
    part, flat = max(2, size // CUT), treatment == "flattened"
    widest = max(layer.units * prod(layer.positions) for layer in layers)
    together = max(PASS, NUMBERS // widest) // size * size or size
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors.values()), torch.float32)
    # Allocated first: products allocated between the layers' short-lived outputs would fragment the memory.
    all_products = torch.empty(len(layers), len(images) // size, part, size - part, dtype=dtype, device=images.device)
    parts = (images.split(together), all_products.split(together // size, 1))
    for some, products in zip(*parts, strict=True):
        for (node, value), product in zip(graph.walk(tensors, some, by_node), products, strict=True):
            layer = by_node[node]
            features = prepare(_in_memory_order(value, layer) if flat or not layer.positions else pooled(value, layer))
            rows = features.to(dtype).view(-1, size, features.shape[1])
            torch.bmm(rows[:, :part], rows[:, part:].mT, out=product)
    return all_products


def _in_memory_order(value: Tensor, layer: Layer) -> Tensor:
    """Flatten a layer's value to (n, p), in memory order if the images are its first dimension.

    The products do not depend on the order of the features.
    """
    if layer.images != FIRST:
        return flattened(value, layer)
    last = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
    return (value.movedim(1, -1) if last else value).flatten(1)


def doubly_centred(products: Tensor) -> tuple[Tensor, Tensor]:
    """Products with rows and columns centred, (L, m a b) float64, and their sums of squares before centring, (L,).

    products: (L, m, a, b), of m minibatches.
    """
    exact = products.double()
    rows = exact - exact.mean(3, keepdim=True)
    return (rows - rows.mean(2, keepdim=True)).flatten(1), exact.square().sum((1, 2, 3))
