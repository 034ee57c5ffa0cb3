"""Greedy matching of ZipIt!: repeatedly merge the two most correlated units, within and across models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

GONE = -np.inf  # score of a pair that can no longer be merged
TIE = 1e-6  # added to the correlation of units with the same index, so that they come first among equal pairs


def zip_units(correlation: Tensor, sizes: Sequence[int], alpha: float, beta: float) -> Tensor:
    """Merge all models' units greedily down to sizes[0] clusters; return the cluster of each unit, (U,) int64.

    Clusters are numbered in the order of their first units. The correlation of two clusters is the lowest
    correlation of their members (Stoica et al. 2024, Alg. 1 and App. B). Each of the U - sizes[0] merges takes O(U)
    time, because the best partner of every unit is stored.
    Args:
        correlation: (U, U) correlations of all models' units side by side.
        sizes: number of units per model, all equal.
        alpha: factor on a cluster's correlations at every merge; below 1 it makes large clusters rare.
        beta: largest share of a model's quota, (U - sizes[0]) / models merges, that may join two of its own units.
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
        if highest.max() == GONE:  # only pairs within one model remain, so the budgets are lifted
            scores = _least_alike(correlation, joins)
            best = scores.argmax(1)
            highest = scores[np.arange(len(scores)), best]
        target = int(highest.argmax())
        source = int(best[target])
        target, source = min(target, source), max(target, source)
        joins[joins == source] = target
        merged = np.minimum(scores[target], scores[source]) * alpha
        merged[[target, source]] = GONE
        scores[target], scores[:, target] = merged, merged
        scores[source], scores[:, source] = GONE, GONE
        stale = np.flatnonzero((best == target) | (best == source))
        if models[target] == models[source]:
            budget[models[target]] -= 1
            if budget[models[target]] == 0:
                own = np.flatnonzero(models == models[target])
                _forbid(scores, own)
                stale = np.union1d(stale, own)
        stale = np.union1d(stale, [target, source])
        best[stale] = scores[stale].argmax(1)
        highest[stale] = scores[stale, best[stale]]
        rises = np.flatnonzero(scores[target] > highest)  # alpha < 1 raises negative correlations towards 0
        best[rises], highest[rises] = target, scores[target, rises]
    return torch.from_numpy(np.unique(joins, return_inverse=True)[1])


def _least_alike(correlation: Tensor, joins: np.ndarray) -> np.ndarray:
    """Return (U, U) scores: the lowest correlation of the members of two clusters, at their first units; else GONE."""
    order = np.argsort(joins, kind="stable")
    firsts, starts = np.unique(joins[order], return_index=True)
    values = correlation.detach().cpu().double().numpy()[np.ix_(order, order)]
    lowest = np.minimum.reduceat(np.minimum.reduceat(values, starts, 0), starts, 1)
    np.fill_diagonal(lowest, GONE)
    scores = np.full(correlation.shape, GONE)
    scores[np.ix_(firsts, firsts)] = lowest
    return scores


def _forbid(scores: np.ndarray, units: np.ndarray) -> None:
    """Exclude merges between any two of these units (n,), in place; scores: (U, U)."""
    scores[np.ix_(units, units)] = GONE
