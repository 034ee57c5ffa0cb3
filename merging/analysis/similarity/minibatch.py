"""CKA of all layers from minibatches: about as dear as the forward passes, in memory that does not grow with the data.

A linear HSIC is the squared norm of a covariance, |C|^2. Each random minibatch is cut in two parts I and J, whose own
covariances are independent of each other and unbiased, and so is then their product, however few images they hold (the
cross-HSIC of Shekhar, Kim and Ramdas 2023):

    (|I| - 1) (|J| - 1) <C_I, C_J> = sum_ij K_ij L_ij,    K, L = X_I X_J', Y_I Y_J', rows and columns centred

It expects what HSIC_1 of all images is, as HSIC_1 of the minibatch does (Nguyen et al. 2021, eq. 3), but takes half the
products for the same noise, and no value leaves [-1, 1]. The sums over the minibatches are taken first and their ratio
last, as there: a mean of the minibatches' ratios would be biased.
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
from merging.analysis.similarity.hsic import above_rounding, centred, check_images, ratio
from merging.errors import InvalidSetting
from merging.network.data import Batches
from merging.network.graph.graph import Graph, Layer
from merging.network.graph.image_axes import ImageAxis
from merging.progress import Progress, no_progress

Side = tuple[Graph, Mapping[str, Tensor], Sequence[Layer]]
IMAGES = 512  # whose products are held at once
NUMBERS = 5 * 2**17  # that a layer writes in one pass: they are still in the processor's cache when they are read
PASS = 48  # images that a pass has at least
LITTLE = 1e-4  # of the products: where centring leaves less, too many of their digits are lost
LEAST, MOST = 4, IMAGES  # images a minibatch
FIRST = ImageAxis(0)  # where the images lie in most layers
CUT = 3  # one part in so many of a minibatch is multiplied with the rest: least noise for the time of the product


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
    """Unbiased CKA of two networks' layers, (L1, L2) float64, and the number of images that it was measured on.

    size: images a minibatch, 4 to 512; those left over after the last whole one are not used.  seed: which share one.
    Memory: 114 x size x layers float64 a network, and what a pass of 48 to 512 images writes.
    Raises InvalidSetting, DataUnavailable.
    """
    if not LEAST <= size <= MOST:
        raise InvalidSetting(f"A minibatch of {size} images was asked for; give {LEAST} to {MOST}, or all at once.")
    check_images(batches.count, True)
    size = min(size, batches.count)
    drawn = batches.sample(batches.count, seed).sized(IMAGES // size * size)  # the data may be sorted by class
    sums: list[Tensor] = []
    seen = 0
    for images, _ in drawn:
        whole = images[: len(images) // size * size]
        seen += len(images)
        if len(whole):
            x, y = (_products(side, side[0].ordered(side[1], whole), size, treatment) for side in sides)
            found = [x @ y.T, x.square().sum(1), y.square().sum(1)]
            sums = [one + more for one, more in zip(sums, found, strict=True)] if sums else found
        (report or no_progress)("similarity", seen / batches.count, f"{seen} of {batches.count} images")
    return ratio(*sums), batches.count // size * size


def _products(side: Side, images: Tensor, size: int, treatment: Literal["pooled", "flattened"]) -> Tensor:
    """(L, m a b) float64: every layer's products of the parts, of a and b images, of m minibatches, centred.

    The features are taken as they are: centred products are those of centred features. Only where features vary so
    little beside their mean that this loses the digits that count, they are centred before, by `hsic.centred`, which
    makes units that vary by rounding alone exactly 0; and what then still is rounding is made 0 as in `hsic.Grams`.
    """
    layers = side[2]
    found, norms = doubly_centred(_read(side, images, size, treatment))
    lost = (found.square().sum(1) <= LITTLE**2 * norms) & (norms > 0)
    if bool(lost.any()):
        again = [layer for layer, one in zip(layers, lost.tolist(), strict=True) if one]
        clear, norms = doubly_centred(_read((*side[:2], again), images, size, treatment, centred))
        own = above_rounding(clear.square().sum(1), norms)
        found[lost] = clear * (own > 0)[:, None]
    return found


def _read(
    side: Side,
    images: Tensor,
    size: int,
    treatment: Literal["pooled", "flattened"],
    prepare: Callable[[Tensor], Tensor] = lambda features: features,
) -> Tensor:
    """(L, m, a, b): the products of the parts of m minibatches. prepare: what is done with (n, p) features before."""
    graph, tensors, layers = side
    wanted = {layer.node: layer for layer in layers}
    part, flat = max(2, size // CUT), treatment == "flattened"
    widest = max(layer.units * prod(layer.positions) for layer in layers)
    together = max(PASS, NUMBERS // widest) // size * size or size
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors.values()), torch.float32)
    # made before: products that are kept between what the layers write and free would break up the memory
    found = torch.empty(len(layers), len(images) // size, part, size - part, dtype=dtype, device=images.device)
    parts = (images.split(together), found.split(together // size, 1))
    for some, products in zip(*parts, strict=True):
        for (node, value), product in zip(graph.walk(tensors, some, wanted), products, strict=True):
            layer = wanted[node]
            features = prepare(_as_it_lies(value, layer) if flat or not layer.positions else pooled(value, layer))
            rows = features.to(dtype).view(-1, size, features.shape[1])
            torch.bmm(rows[:, :part], rows[:, part:].mT, out=product)
    return found


def _as_it_lies(value: Tensor, layer: Layer) -> Tensor:
    """(n, p): all numbers of a layer, in the order of the memory where it holds the images first: the products do not
    depend on the order."""
    if layer.images != FIRST:
        return flattened(value, layer)
    last = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
    return (value.movedim(1, -1) if last else value).flatten(1)


def doubly_centred(products: Tensor) -> tuple[Tensor, Tensor]:
    """Products (L, m, a, b) of m minibatches as (L, m a b) float64, rows and columns centred; (L,) squares before."""
    exact = products.double()
    rows = exact - exact.mean(3, keepdim=True)
    return (rows - rows.mean(2, keepdim=True)).flatten(1), exact.square().sum((1, 2, 3))
