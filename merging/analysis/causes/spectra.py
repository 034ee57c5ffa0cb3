"""Alignment of the singular vectors of two networks' weights, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Alike:
    """Similarity of one weight tensor in two networks.

    Attributes:
        name: name of the weight tensor.
        alignment: agreement of the singular vectors, weighted by singular values: 1 if all agree, about 0 if unrelated.
        distance: |X - Y| / sqrt(|X| |Y|), Frobenius norms.
    """

    name: str
    alignment: float
    distance: float


def compare_weights(x: Mapping[str, Tensor], y: Mapping[str, Tensor]) -> tuple[Alike, ...]:
    """Compare every weight tensor of at least 2 dimensions, as a matrix (first dimension, all others), in float64.

    alignment = sum_ij s_i t_j <u_i, u'_j> <v_i, v'_j> / sum_i s_i t_i, for x = U S V' and y = U' T V'. The numerator is
    <x, y> and the denominator its largest possible value (von Neumann), so the double sum is never computed. After Ito
    et al.: Analysis of Linear Mode Connectivity via Permutation-Based Weight Matching (ICLR 2025).

    x, y: name -> weight, of equal shapes.
    """
    return tuple(
        _alike(name, x[name].double().flatten(1), y[name].double().flatten(1))
        for name in x
        if x[name].ndim > 1 and x[name].shape == y[name].shape and x[name].is_floating_point()
    )


def _alike(name: str, x: Tensor, y: Tensor) -> Alike:
    most = float(torch.linalg.svdvals(x) @ torch.linalg.svdvals(y))
    sizes = float(x.norm() * y.norm()) ** 0.5
    if not most > 0:
        return Alike(name, float("nan"), float("nan"))
    return Alike(name, float((x * y).sum()) / most, float((x - y).norm()) / sizes)
