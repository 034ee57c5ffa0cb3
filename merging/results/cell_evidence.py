"""The statistical evidence for one CKA value. torch-free."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CellEvidence:
    """Debiased CKA of the features x and y of two layers on the same images, with evidence for the value.

    Attributes:
        value: debiased CKA.
        low, high: 95 % interval from half-samples.
        null: 95th percentile of the CKA of row-shuffled pairs.
        p_value: probability that a row-shuffled pair has at least this value.
        trimmed: CKA without the 1 % of the images with the largest leverage.
        leverage: (x, y), the largest leverage of an image.
        first: (x, y), share of the variance in the first principal component.
        dominant: rows of the images with the largest leverage in x or y, in descending order.
        neighbours, procrustes: mutual nearest neighbours and Procrustes similarity of x and y.
        images: number of images.
        features: (p1, p2), number of features of x and of y.
    """

    value: float
    low: float
    high: float
    null: float
    p_value: float
    trimmed: float
    leverage: tuple[float, float]
    first: tuple[float, float]
    dominant: tuple[int, ...]
    neighbours: float
    procrustes: float
    images: int
    features: tuple[int, int]
