"""When to trust a CKA value: how much it owes to chance, to single images and to single directions.

After Davari et al.: Reliability of CKA as a Similarity Measure in Deep Learning (ICLR 2023).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from merging.analysis.hsic import Features, gram
from merging.analysis.measures import Side, cka_debiased, mutual_neighbours, procrustes, trimmed_cka
from merging.analysis.reliability_parts import CellEvidence
from merging.problem import Report, silent

DRAWS = 100


def examine(
    x: Tensor, y: Tensor, *, draws: int = DRAWS, seed: int = 0, shown: int = 9, report: Report | None = None
) -> CellEvidence:
    """The evidence about the CKA of two layers' features (n, p1) and (n, p2) of the same images.

    The interval: the spread over random halves of the images, drawn without replacement, is that of the whole sample
    (1/m - 1/n = 1/n at m = n/2), laid around the value.  Memory: n^2 float64, a few times.
    Raises DataUnavailable for fewer than 12 images (hsic.check_images for fewer than 4).
    """
    sides, rng = (Side(x), Side(y)), np.random.default_rng(seed)
    value = cka_debiased(*sides)
    grams = [gram(side.centred).fill_diagonal_(0).float() for side in sides]
    halves = _halves(grams[0], grams[1], draws, rng)
    shuffled = _shuffled(sides, draws, rng, report or silent)
    spread = halves - halves.mean()
    low, high = (value + float(np.quantile(spread, q)) for q in (0.025, 0.975))
    leverage = torch.stack([side.leverage for side in sides])
    return CellEvidence(
        value=value,
        low=low,
        high=high,
        null=float(np.quantile(shuffled, 0.95)),
        p_value=float((1 + (shuffled >= value).sum()) / (draws + 1)),
        trimmed=trimmed_cka(*sides),
        leverage=(float(leverage[0].max()), float(leverage[1].max())),
        first=(sides[0].first_component, sides[1].first_component),
        dominant=tuple(leverage.amax(0).argsort(descending=True, stable=True)[:shown].tolist()),
        neighbours=mutual_neighbours(*sides),
        procrustes=procrustes(*sides),
        images=len(x),
        features=(x.shape[1], y.shape[1]),
    )


def _shuffled(sides: tuple[Side, Side], draws: int, rng: np.random.Generator, report: Report) -> np.ndarray:
    """(draws,) debiased CKA with the second side's images shuffled: HSIC_1 in feature space, see `hsic`. Only |X'Y|^2
    and the sum of the images' squared lengths change."""
    x, y = (side.centred.float() for side in sides)
    n, squares = len(x), [side.centred.square().sum(1) for side in sides]
    own = [Features(side.centred, (side.centred.shape[1],), True).own[0] for side in sides]
    power, sums = max(float(own[0] * own[1]), 1e-300) ** 0.5, float(squares[0].sum() * squares[1].sum())
    found = np.empty(draws)
    for draw in range(draws):
        order = torch.from_numpy(rng.permutation(n)).to(x.device)
        norm = float((x.T @ y[order]).square_().sum(dtype=torch.float64))
        lengths = float(squares[0] @ squares[1][order])
        found[draw] = (norm - n / (n - 2) * lengths + sums / ((n - 1) * (n - 2))) / power
        report("reliability", (draw + 1) / draws, f"draw {draw + 1} of {draws}")
    return found


def _halves(first: Tensor, second: Tensor, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws,) debiased CKA of random halves of the images, from the whole's Grams (n, n) with zero diagonals, in their
    own precision: single is enough for an interval.

    HSIC_1 does not change when a constant is added to the features, so a half needs no centring of its own; with w its
    indicator, tr K L = w'(K o L)w, and so on for the sums: a product of a Gram with all halves at once.
    """
    grams = (first, second)
    n, m = len(first), len(first) // 2
    chosen = np.argsort(rng.random((n, draws)), axis=0) < m
    w = torch.from_numpy(chosen).to(first)
    sums = [one @ w for one in (first, second)]

    def hsic(i: int, j: int) -> Tensor:
        pair = grams[i] * grams[j]
        totals = (w * sums[i]).sum(0) * (w * sums[j]).sum(0) / ((m - 1) * (m - 2))
        return (w * (pair @ w)).sum(0) + totals - 2 / (m - 2) * (w * sums[i] * sums[j]).sum(0)

    power = (hsic(0, 0) * hsic(1, 1)).clamp_min(0).sqrt()
    found: np.ndarray = torch.where(power > 0, hsic(0, 1) / power, torch.nan).cpu().numpy()
    return found
