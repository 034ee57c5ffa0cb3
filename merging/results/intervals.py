"""Confidence intervals of shares, such as accuracies."""

from __future__ import annotations

from math import sqrt

Z95, Z99 = 1.959964, 2.575829  # standard deviations of a 95 % and of a 99 % interval of the normal distribution


def wilson(share: float, count: int, z: float = Z95) -> tuple[float, float]:
    """Confidence interval of a share in 0..1 that was measured on `count` >= 1 cases (Wilson 1927).

    z: standard deviations of the normal distribution; the default gives 95 % confidence.
    """
    middle, spread = share + z * z / (2 * count), z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max((middle - spread) / scale, 0.0), min((middle + spread) / scale, 1.0)
