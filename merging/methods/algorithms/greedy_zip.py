"""ZipIt!'s greedy matching: merge the two units that correlate most, again and again, within and across models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

GONE = -np.inf
TIE = 1e-6  # correlation: units that nothing tells apart, such as dead ones, join those of the same place


def zip_units(correlation: Tensor, sizes: Sequence[int], alpha: float, beta: float) -> Tensor:
    """Which merged unit each unit joins: (U,) int64, in the order of their first unit.

    correlation: (U, U) of all models' units side by side; sizes: units of each, which must be equal.  alpha: what the
    correlations of a merged unit are multiplied with, so that large clusters are rare.  beta: the share of its part of
    the merges that a model may spend on its own units.  A cluster correlates as its least alike members do (Stoica et
    al. 2024, Algorithm 1 and Appendix B).  U - sizes[0] merges, each O(U): the best partner of every unit is kept.
    """
    scores = correlation.detach().cpu().double().numpy().copy()
    models, places = np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(size) for size in sizes])
    scores[places[:, None] == places] += TIE
    np.fill_diagonal(scores, GONE)
    joins = np.arange(len(scores))
    removals = len(scores) - sizes[0]
    budget = np.full(len(sizes), int(removals // len(sizes) * beta + 1e-4))
    for model in np.flatnonzero(budget == 0):
        _forbid(scores, np.flatnonzero(models == model))
    best = scores.argmax(1)
    highest = scores[np.arange(len(scores)), best]
    for _ in range(removals):
        if highest.max() == GONE:  # every pair left would join units of one model: then that must be
            scores = _least_alike(correlation, joins)
            best = scores.argmax(1)
            highest = scores[np.arange(len(scores)), best]
        kept = int(highest.argmax())
        gone = int(best[kept])
        kept, gone = min(kept, gone), max(kept, gone)
        joins[joins == gone] = kept
        merged = np.minimum(scores[kept], scores[gone]) * alpha
        merged[[kept, gone]] = GONE
        scores[kept], scores[:, kept] = merged, merged
        scores[gone], scores[:, gone] = GONE, GONE
        stale = np.flatnonzero((best == kept) | (best == gone))
        if models[kept] == models[gone]:
            budget[models[kept]] -= 1
            if budget[models[kept]] == 0:
                own = np.flatnonzero(models == models[kept])
                _forbid(scores, own)
                stale = np.union1d(stale, own)
        stale = np.union1d(stale, [kept, gone])
        best[stale] = scores[stale].argmax(1)
        highest[stale] = scores[stale, best[stale]]
        rises = np.flatnonzero(scores[kept] > highest)  # alpha brings negative correlations nearer to 0
        best[rises], highest[rises] = kept, scores[kept, rises]
    return torch.from_numpy(np.unique(joins, return_inverse=True)[1])


def _least_alike(correlation: Tensor, joins: np.ndarray) -> np.ndarray:
    """(U, U) lowest correlation between the members of two clusters, at their first units; elsewhere nothing."""
    order = np.argsort(joins, kind="stable")
    firsts, starts = np.unique(joins[order], return_index=True)
    values = correlation.detach().cpu().double().numpy()[np.ix_(order, order)]
    lowest = np.minimum.reduceat(np.minimum.reduceat(values, starts, 0), starts, 1)
    np.fill_diagonal(lowest, GONE)
    found = np.full(correlation.shape, GONE)
    found[np.ix_(firsts, firsts)] = lowest
    return found


def _forbid(scores: np.ndarray, units: np.ndarray) -> None:
    """No two of these units (n,) are merged any more; scores: (U, U)."""
    scores[np.ix_(units, units)] = GONE
