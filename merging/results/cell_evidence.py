"""What stands beside one CKA value, as numbers that need no torch to read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CellEvidence:
    """What stands beside the debiased CKA of two layers on the same `images`, with `features` (p1, p2) numbers each.

    value: debiased CKA.  low, high: 95 % interval by half-samples.  null: what 95 % of row-shuffled pairs stay below;
    p_value: of at least this value by chance.  trimmed: without the top 1 % of images by leverage.  leverage, first:
    largest leverage and first principal component's share, of x and of y.  dominant: the images with the largest
    leverage in either, falling, as rows of the features.  neighbours, procrustes: the same pair by other measures.
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
