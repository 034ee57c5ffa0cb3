"""CKA of all layers from minibatches: about as dear as the forward passes, in memory that does not grow with the data.

HSIC_1 of a random minibatch expects what HSIC_1 of all images is, however few it holds, so its sums over minibatches
estimate the same similarity, with more noise (Nguyen et al. 2021, eq. 2 and 3). The three sums are taken first and
their ratio last: a mean of the minibatches' ratios would be biased.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from merging.analysis.activations import flattened, pooled
from merging.analysis.features import BATCH
from merging.analysis.hsic import Grams, above_rounding, check_images, ratio
from merging.data import Batches
from merging.errors import InvalidSetting
from merging.graph import Graph, Layer
from merging.problem import Report, silent

Side = tuple[Graph, Mapping[str, Tensor], Sequence[Layer]]
IMAGES = 512  # whose Grams are held at once
NUMBERS = 2**20  # that a layer writes in one pass: they are still in the processor's cache when they are read
LITTLE = 1e-3  # of the features' squares: less variation than that is looked at without the mean
LEAST, MOST = 4, IMAGES  # images a minibatch


@torch.no_grad()
def by_minibatches(
    sides: Sequence[Side],
    batches: Batches,
    size: int,
    treatment: Literal["pooled", "flattened"],
    *,
    seed: int = 0,
    report: Report | None = None,
) -> tuple[np.ndarray, int]:
    """Debiased CKA of two networks' layers, (L1, L2) float64, and the number of images that it was measured on.

    size: images a minibatch, 4 to 512; those left over after the last whole one are not used.  seed: which share one.
    Memory: 512 x size x layers float64 a network, and what a pass of 64 to 512 images writes.
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
            x, y = (_grams(side, whole, size, treatment) for side in sides)
            found = [x.cross(y), x.estimate, x.norms, y.estimate, y.norms]
            sums = [one + more for one, more in zip(sums, found, strict=True)] if sums else found
        (report or silent)("similarity", seen / batches.count, f"{seen} of {batches.count} images")
    cross, *own = sums
    values = ratio(cross, above_rounding(*own[:2]), above_rounding(*own[2:]))
    return values, batches.count // size * size


def _grams(side: Side, images: Tensor, size: int, treatment: Literal["pooled", "flattened"]) -> Grams:
    graph, tensors, layers = side
    dims = {layer.node: layer.dim for layer in layers}
    parts: dict[str, list[Tensor]] = {node: [] for node in dims}
    widest = max(layer.units * prod(layer.positions) for layer in layers)
    for some in images.split(max(BATCH, NUMBERS // widest) // size * size or size):
        for node, value in graph.walk(tensors, some, dims):
            mean = treatment == "pooled" and value.ndim > 2
            parts[node].append(_products(pooled(value, dims[node]) if mean else flattened(value, dims[node]), size))
    return Grams(torch.stack([torch.cat(part) for part in parts.values()]), size, debiased=True)


def _products(features: Tensor, size: int) -> Tensor:
    """(m size^2,) float64: the Grams of (m size, p) features in minibatches, diagonals zeroed.

    HSIC_1 does not change when all rows move together, so they are taken as they are, unless they vary so little beside
    their mean that products would lose the digits that count. Then one row is taken off all others, which makes units
    that never vary exactly 0. A layer that varies by rounding alone becomes 0, too, as in `hsic.centred`.
    """
    rows = features.to(torch.promote_types(features.dtype, torch.float32)).view(-1, size, features.shape[1])
    grams = torch.bmm(rows, rows.mT).double()
    energy = grams.diagonal(dim1=1, dim2=2).sum()
    if not bool(energy - grams.sum() / size > LITTLE * energy):
        moved = rows - rows[0, 0]
        grams = torch.bmm(moved, moved.mT).double()
        noise = 64 * torch.finfo(features.dtype).eps ** 2 * rows[0, 0].double().square().sum() * len(features)
        grams *= grams.diagonal(dim1=1, dim2=2).sum() > noise
    grams.diagonal(dim1=1, dim2=2).zero_()
    return grams.flatten()
