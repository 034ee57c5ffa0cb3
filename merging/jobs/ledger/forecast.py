"""How long a job will take, by stages, from finished ones like it: one forecast for forms, queue and bar. No torch.

The likest finished jobs tell: of the same networks and methods where there are some, then of the same networks alone.
Those tell nothing of the stages that the methods decide, which then count as the share that they usually are. What is
measured more finely takes longer in proportion; a study tells of another one that measures as much, wherever it looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from merging.jobs.requests.estimates import Past
from merging.jobs.requests.registry import kinds

KEPT = 50  # finished jobs of a kind that are looked at


def forecast(asked: Mapping[str, Any], past: Iterable[Past]) -> dict[str, float]:
    """Stage -> expected seconds of a request given as JSON values; {} where no finished job is like it."""
    kin = [_told_by(one, asked) for one in past if one.request["kind"] == asked["kind"]]
    most = max((likeness for likeness, _ in kin), default=0)
    if most == 0:
        return {}
    alike = [stages for likeness, stages in kin if likeness == most]
    stages = dict.fromkeys(stage for found in alike for stage in found)
    return {stage: median(found.get(stage, 0.0) for found in alike) for stage in stages}


def shares(stages: Mapping[str, float], usual: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """The share of the whole that each stage is, by a forecast; the usual ones where there is none."""
    spent = {stage: stages.get(stage, 0.0) for stage, _ in usual}
    whole = sum(spent.values())
    return tuple((stage, seconds / whole) for stage, seconds in spent.items()) if whole > 0 else tuple(usual)


def _told_by(past: Past, asked: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """How alike a finished job is, and what it tells of the one asked for."""
    try:
        kind = kinds()[asked["kind"]]
        likeness = int(kind.likeness(asked, past.request))
        return likeness, kind.scaled(asked, past, likeness) if likeness else {}
    except (KeyError, TypeError):  # another version of the program asked for one of them
        return 0, {}
