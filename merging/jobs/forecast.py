"""Forecast of a job's duration per stage, from similar finished jobs, for forms, queue and progress bar. torch-free.

Only the most similar finished jobs are used: those with the same network structures and methods or, if there are none,
those with the same structures. The latter cannot predict the stages that depend on the method; such a stage gets its
usual share of the duration. Durations are scaled with the number of images, of points and so on. A finished study also
predicts the same study at another place, such as another layer (`places` of studies.registry.Study).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from merging.jobs.requests.estimates import Past
from merging.jobs.requests.registry import kinds

KEPT = 50  # number of finished jobs per kind that are used, the latest ones


def forecast(asked: Mapping[str, Any], past: Iterable[Past]) -> dict[str, float]:
    """Stage -> expected seconds; {} if no finished job is similar. asked: the request as JSON values."""
    predictions = [_predicted_from(one, asked) for one in past if one.request["kind"] == asked["kind"]]
    most = max((likeness for likeness, _ in predictions), default=0)
    if most == 0:
        return {}
    nearest = [stages for likeness, stages in predictions if likeness == most]
    stages = dict.fromkeys(stage for durations in nearest for stage in durations)
    return {stage: median(durations.get(stage, 0.0) for durations in nearest) for stage in stages}


def shares(stages: Mapping[str, float], usual: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """(stage, share of the whole job), from a forecast (stage -> seconds); `usual` if the forecast is empty."""
    spent = {stage: stages.get(stage, 0.0) for stage, _ in usual}
    whole = sum(spent.values())
    return tuple((stage, seconds / whole) for stage, seconds in spent.items()) if whole > 0 else tuple(usual)


def _predicted_from(past: Past, asked: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """Likeness of a finished job to a request, and the request's durations predicted from it (stage -> seconds)."""
    try:
        kind = kinds()[asked["kind"]]
        likeness = int(kind.likeness(asked, past.request))
        return likeness, kind.scaled(asked, past, likeness) if likeness else {}
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):  # damaged, or of another version
        return 0, {}
