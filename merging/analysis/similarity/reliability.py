"""Reliability of a CKA value: its dependence on chance, on single images and on single directions.

After Davari et al.: Reliability of CKA as a Similarity Measure in Deep Learning (ICLR 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from merging.analysis.similarity.hsic import gram
from merging.analysis.similarity.measures import Side, cka_debiased, mutual_neighbours, procrustes, trimmed_cka
from merging.progress import Progress, no_progress
from merging.results.cell_evidence import CellEvidence

DRAWS = 100


def examine(
    x: Tensor, y: Tensor, *, draws: int = DRAWS, seed: int = 0, shown: int = 9, report: Progress | None = None
) -> CellEvidence:
    """Collect evidence on the CKA of two layers' features (n, p1) and (n, p2) of the same images.

    The interval adds to the value the deviations of the CKAs of random halves of the images from their mean. Drawn
    without replacement, a half varies as much as a new sample of full size (1/m - 1/n = 1/n at m = n/2). Memory: a few
    (n, n) float64 matrices.

    Args:
        draws: number of half-samples, and the least number of shuffles.
        shown: number of images with the largest leverage to return.

    Raises DataUnavailable for fewer than 12 images (for fewer than 4, `hsic.check_images` raises it).
    """
    sides, rng = (Side(x), Side(y)), np.random.default_rng(seed)
    value = cka_debiased(*sides)
    grams = [gram(side.centred).fill_diagonal_(0).float() for side in sides]
    tell = report or no_progress
    tell("reliability", 0.3, f"{draws} random halves of the images")
    halves = _halves(grams[0], grams[1], draws, rng)
    tell("reliability", 0.5, "the images shuffled")
    shuffled = _shuffled(grams, draws, rng)
    tell("reliability", 0.7, "other measures")
    spread = halves - halves.mean()
    low, high = (value + float(np.quantile(spread, q)) for q in (0.025, 0.975))
    leverage = torch.stack([side.leverage for side in sides])
    return CellEvidence(
        value=value,
        low=low,
        high=high,
        null=float(np.quantile(shuffled, 0.95)),
        p_value=float((1 + (shuffled >= value).sum()) / (len(shuffled) + 1)),
        trimmed=trimmed_cka(*sides),
        leverage=(float(leverage[0].max()), float(leverage[1].max())),
        first=(sides[0].first_component, sides[1].first_component),
        dominant=tuple(leverage.amax(0).argsort(descending=True, stable=True)[:shown].tolist()),
        neighbours=mutual_neighbours(*sides),
        procrustes=procrustes(*sides),
        images=len(x),
        features=(x.shape[1], y.shape[1]),
    )


def _shuffled(grams: Sequence[Tensor], draws: int, rng: np.random.Generator) -> np.ndarray:
    """Debiased CKA with the second side's images shuffled, at least `draws` times. grams: two (n, n), diagonals 0.

    The shuffles are all cyclic shifts of one random order of the images, and of further random orders if n is too
    small. The shifts of one order form a group, so the permutation test is exact (Hemerik and Goeman 2018). Their n
    traces tr K L_k are correlations along the cyclic diagonals, computed by Fourier transforms: n^2 log n flops for n
    shuffles, where a single product of features costs 2 n p^2.
    """
    n = len(grams[0])
    sums = [one.sum(1, dtype=torch.float64) for one in grams]
    totals = [float(one.sum()) for one in sums]
    power = 1.0
    for one, rows, total in zip(grams, sums, totals, strict=True):
        own = float(one.square().sum(dtype=torch.float64)) + total**2 / ((n - 1) * (n - 2))
        power *= max(own - 2 / (n - 2) * float(rows @ rows), 1e-150)
    rounds = []
    for _ in range(-(-draws // (n - 1))):
        order = torch.from_numpy(rng.permutation(n)).to(grams[0].device)
        traces = _correlated(*(_diagonals(one[order][:, order]) for one in grams))
        products = _correlated(*(one[order][:, None] for one in sums))
        rounds.append(traces + totals[0] * totals[1] / ((n - 1) * (n - 2)) - 2 / (n - 2) * products)
    hsic = torch.stack(rounds)[:, 1:].flatten()  # the first of each round is shifted by 0
    values: np.ndarray = (hsic / power**0.5).cpu().numpy()
    return values


def _diagonals(matrix: Tensor) -> Tensor:
    """Elements (i, i + d) of a symmetric matrix (n, n), indices modulo n, for d from 1 to n // 2: (n, n // 2).

    Larger d repeat the same elements. Columns are scaled by the square root of 2, because each stands for two
    diagonals; sums of products then equal those of the full matrices.
    """
    n = len(matrix)
    twice = torch.cat([matrix, matrix], 1)
    half = twice.as_strided((n, n // 2), (2 * n + 1, 1), 1) * 2**0.5
    if n % 2 == 0:
        half[:, -1] /= 2**0.5
    return half


def _correlated(x: Tensor, y: Tensor) -> Tensor:
    """Cyclic correlation (n,) float64: for each shift k, the sum over i and columns of x[i] y[i + k]. x, y: (n, m)."""
    spectra = [torch.fft.rfft(one, dim=0) for one in (x, y)]
    products = (spectra[0].conj() * spectra[1]).sum(1).to(torch.complex128)
    return torch.fft.irfft(products, n=len(x))


def _halves(first: Tensor, second: Tensor, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Debiased CKA (draws,) of random halves of the images, from the Grams (n, n) of all images, with zero diagonals.

    Computed in the precision of the Grams: single precision is enough for an interval. HSIC_1 does not change when a
    constant is added to the features, so a half needs no centring of its own. With w the indicator of the half, tr K L
    = w'(K o L)w, and likewise for the sums, so one matrix product per Gram serves all halves.
    """
    grams = (first, second)
    n, m = len(first), len(first) // 2
    in_half = np.argsort(rng.random((n, draws)), axis=0) < m
    w = torch.from_numpy(in_half).to(first)
    sums = [one @ w for one in (first, second)]

    def hsic(i: int, j: int) -> Tensor:
        """(draws,) HSIC_1 of Grams i and j over each half."""
        pair = grams[i] * grams[j]
        totals = (w * sums[i]).sum(0) * (w * sums[j]).sum(0) / ((m - 1) * (m - 2))
        return (w * (pair @ w)).sum(0) + totals - 2 / (m - 2) * (w * sums[i] * sums[j]).sum(0)

    power = (hsic(0, 0) * hsic(1, 1)).clamp_min(0).sqrt()
    values: np.ndarray = torch.where(power > 0, hsic(0, 1) / power, torch.nan).cpu().numpy()
    return values
