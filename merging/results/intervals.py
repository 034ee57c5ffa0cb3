"""Confidence intervals of shares, such as accuracies, and of means."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, sqrt

import numpy as np

Z95, Z99 = 1.959964, 2.575829  # standard deviations of a 95 % and of a 99 % interval of the normal distribution
RESAMPLES = 1000
# Half-widths of 95 % intervals of the t distribution in standard errors, for 1, 2, ... degrees of freedom.
T95 = (
    *(12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139),
    *(2.200985, 2.178813, 2.160369, 2.144787, 2.13145, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963),
    *(2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831, 2.048407, 2.04523, 2.042272),
)


def wilson(share: float, count: int, z: float = Z95) -> tuple[float, float]:
    """Confidence interval of a share in 0..1 that was measured on `count` >= 1 cases (Wilson 1927).

    z: standard deviations of the normal distribution; the default gives 95 % confidence.
    """
    middle, spread = share + z * z / (2 * count), z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max((middle - spread) / scale, 0.0), min((middle + spread) / scale, 1.0)


def finite_mean(values: np.ndarray) -> float:
    """Mean of the finite values; NaN if there are none."""
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


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
    """Mean of values and its 95 % interval by the t distribution (Student 1908).

    The bounds are NaN for one value, and where a value is infinite.
    """
    count, mean = len(values), sum(values) / len(values)
    if count < 2 or not isfinite(mean):
        return mean, float("nan"), float("nan")
    spread = sqrt(sum((value - mean) ** 2 for value in values) / (count - 1) / count)
    half = t95(count - 1) * spread
    return mean, mean - half, mean + half


def t95(freedom: int) -> float:
    """Half-width of a 95 % interval of the t distribution; above 30 degrees, by its expansion (Fisher 1926)."""
    if freedom <= len(T95):
        return T95[freedom - 1]
    z = Z95
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
