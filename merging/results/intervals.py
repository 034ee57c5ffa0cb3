"""Confidence intervals of shares, such as accuracies, and of means."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, sqrt

import numpy as np
from scipy.special import stdtrit

Z95, Z99 = 1.959964, 2.575829  # standard deviations of a 95 % and of a 99 % interval of the normal distribution
RESAMPLES = 1000


def wilson(share: float, count: int, z: float = Z95) -> tuple[float, float]:
    """Confidence interval of a share in 0..1 that was measured on `count` >= 1 cases (Wilson 1927).

    z: standard deviations of the normal distribution; the default gives 95 % confidence.
    """
    middle, spread = share + z * z / (2 * count), z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max((middle - spread) / scale, 0.0), min((middle + spread) / scale, 1.0)


def bootstrap(values: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Mean of (N,) values without the NaN among them, and its 95 % interval over RESAMPLES resamples (Efron 1979).

    The three numbers are NaN if no value is left.
    """
    defined = values[~np.isnan(values)]
    if len(defined) == 0:
        return (float("nan"),) * 3
    indices = np.random.default_rng(seed).integers(0, len(defined), (RESAMPLES, len(defined)))
    low, high = np.quantile(defined[indices].mean(1), [0.025, 0.975])
    return float(defined.mean()), float(low), float(high)


def student(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of values and its 95 % interval by the t distribution (Student 1908); NaN bounds for one value."""
    count, mean = len(values), fsum(values) / len(values)
    if count < 2:
        return mean, float("nan"), float("nan")
    spread = sqrt(fsum((value - mean) ** 2 for value in values) / (count - 1) / count)
    half = float(stdtrit(count - 1, 0.975)) * spread
    return mean, mean - half, mean + half
