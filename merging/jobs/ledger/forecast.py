"""How long a job will take, by stages, from finished ones like it: one forecast for forms, queue and bar. No torch.

The likest finished jobs tell: of the same networks and methods where there are some, then of the same networks alone.
Those tell nothing of the stages that the methods decide, which then count as the share that they usually are. What is
measured more finely takes longer in proportion; a study tells of another one that measures as much, wherever it looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from merging.jobs.stages import STAGES

KEPT = 50  # finished jobs of a kind that are looked at
# Stages of a merge that a method decides: which one, and the choice that leaves nothing to do there.
OF_METHODS = {"matching": ("align", "none"), "combining": ("combine", "average")}
PLACES = ("layer", "first", "pair", "row", "column", "net", "classes", "unit")  # settings of studies
METHODS = ("align", "combine", "correct", "settings")


@dataclass(frozen=True)
class Past:
    """A finished job. request: as JSON values; stages: stage -> seconds, "" for what passed between them."""

    request: Mapping[str, Any]
    stages: Mapping[str, float]


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
        likeness = _likeness(asked, past.request)
        return likeness, _scaled(asked, past, likeness) if likeness else {}
    except (KeyError, TypeError):  # another version of the program asked for one of them
        return 0, {}


def _likeness(asked: Mapping[str, Any], past: Mapping[str, Any]) -> int:
    """0 for jobs that tell nothing of each other, 1 for the same networks, 2 for the same work on them."""
    kind = asked["kind"]
    if kind == "download":
        return int(asked["dataset"] == past["dataset"])
    if kind == "study":
        same = asked["study"] == past["study"] and _same_nets(asked["merge"], past["merge"])
        return 2 * (same and _effort(asked["settings"]) == _effort(past["settings"]))
    if kind == "pictures":
        same = _same_nets({"models": [asked["model"]]}, {"models": [past["model"]]})
        return same * (1 + (asked["layer"] == past["layer"]))
    if kind == "train":
        return int(all(asked[key] == past[key] for key in ("architecture", "config", "data_sha256")))
    same = _same_nets(asked, past) and bool(asked["data_sha256"]) == bool(past["data_sha256"])
    return same * (1 + (kind == "zip" or all(asked[key] == past[key] for key in METHODS)))


def _effort(settings: Mapping[str, Any]) -> dict[str, Any]:
    """How much a study measures: its settings without those that say where it looks."""
    return {name: value for name, value in settings.items() if name not in PLACES}


def _same_nets(asked: Mapping[str, Any], past: Mapping[str, Any]) -> bool:
    """Whether as many networks of the same structure are asked for."""
    built = [[(model["architecture"], model["config"]) for model in one["models"]] for one in (asked, past)]
    return built[0] == built[1]


def _scaled(asked: Mapping[str, Any], past: Past, likeness: int) -> dict[str, float]:
    """The finished job's stages as they would be for what is asked."""
    other = past.request
    if asked["kind"] == "merge":
        found = _longer(past.stages, ("curve",), _measured(asked) / _measured(other))
        return found if likeness > 1 else _with_usual(found, asked)
    if asked["kind"] == "zip":
        return _longer(past.stages, ("matching", "heads"), asked["images"] / other["images"])
    if asked["kind"] == "train":
        return _longer(past.stages, ("training",), asked["epochs"] / other["epochs"])
    if asked["kind"] == "pictures":
        drawn = [len(one["units"]) * one["settings"]["steps"] for one in (asked, other)]
        return _longer(past.stages, ("rendering",), drawn[0] / drawn[1])
    return dict(past.stages)


def _longer(stages: Mapping[str, float], which: Sequence[str], times: float) -> dict[str, float]:
    return {stage: spent * times if stage in which else spent for stage, spent in stages.items()}


def _with_usual(stages: Mapping[str, float], merge: Mapping[str, Any]) -> dict[str, float]:
    """A merge's stages, those that its methods decide as the share that they usually are beside the others."""
    usual = dict(STAGES["merge"])
    known = {stage: spent for stage, spent in stages.items() if stage not in OF_METHODS}
    one = sum(known.values()) / (1 - sum(usual[stage] for stage in OF_METHODS))
    idle = {stage: merge[role] == nothing for stage, (role, nothing) in OF_METHODS.items()}
    idle["combining"] &= merge["correct"] == "none"  # a correction measures the parents in that stage
    return known | {stage: 0.0 if idle[stage] else usual[stage] * one for stage in OF_METHODS}


def _measured(merge: Mapping[str, Any]) -> float:
    """How much a merge's curves measure: points, images, and one path more where it is corrected."""
    return merge["points"] * merge["images"] * (2 + (merge["correct"] != "none"))
