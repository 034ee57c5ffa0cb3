"""Forecast of a job's duration per stage, from similar finished jobs, for forms, queue and progress bar. torch-free.

The most similar finished jobs count: those with the same networks and methods, otherwise those with the same networks.
The latter give no information on stages that depend on the method; these get their usual share of the whole. Durations
scale with the number of images, points and so on. A study also forecasts the same study at another place of a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from merging.jobs.requests.estimates import Past
from merging.jobs.requests.registry import kinds

KEPT = 50  # latest finished jobs per kind that are used


def forecast(asked: Mapping[str, Any], past: Iterable[Past]) -> dict[str, float]:
    """Stage -> expected seconds. asked: the request as JSON values. {} where no finished job is similar."""
    kin = [_told_by(one, asked) for one in past if one.request["kind"] == asked["kind"]]
    most = max((likeness for likeness, _ in kin), default=0)
    if most == 0:
        return {}
    nearest = [stages for likeness, stages in kin if likeness == most]
    stages = dict.fromkeys(stage for durations in nearest for stage in durations)
    return {stage: median(durations.get(stage, 0.0) for durations in nearest) for stage in stages}


def shares(stages: Mapping[str, float], usual: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """(stage, share of the whole) by a forecast in seconds; `usual` where the forecast is empty."""
    spent = {stage: stages.get(stage, 0.0) for stage, _ in usual}
    whole = sum(spent.values())
    return tuple((stage, seconds / whole) for stage, seconds in spent.items()) if whole > 0 else tuple(usual)


def _told_by(past: Past, asked: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """Likeness of a finished job to a request, and its forecast (stage -> seconds)."""
    try:
        kind = kinds()[asked["kind"]]
        likeness = int(kind.likeness(asked, past.request))
        return likeness, kind.scaled(asked, past, likeness) if likeness else {}
    except (KeyError, TypeError):  # another version of the program submitted one of them
        return 0, {}
