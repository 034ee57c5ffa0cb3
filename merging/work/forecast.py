"""How long a job will take, by stages, from finished ones like it: one forecast for forms, queue and bar. No torch.

The likest finished jobs tell: of the same networks and methods where there are some, then of the same networks, whose
methods' own stages tell nothing. What is measured more finely takes longer in proportion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

KEPT = 50  # finished jobs of a kind that are looked at
OF_METHODS = ("matching", "combining")  # stages of a merge that its methods decide
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
    """0 for jobs that tell nothing of each other, more the more they are alike."""
    kind = asked["kind"]
    if kind == "download":
        return int(asked["dataset"] == past["dataset"])
    if kind == "study":
        return (asked["study"] == past["study"]) * (1 + _same_nets(asked["merge"], past["merge"]))
    if kind == "pictures":
        return 1 + _same_nets({"models": [asked["model"]]}, {"models": [past["model"]]}) * (
            1 + (asked["layer"] == past["layer"])
        )
    if kind == "train":
        return int(all(asked[key] == past[key] for key in ("architecture", "config", "data_sha256")))
    same = _same_nets(asked, past)
    return same * (1 + (kind == "zip" or all(asked[key] == past[key] for key in METHODS)))


def _same_nets(asked: Mapping[str, Any], past: Mapping[str, Any]) -> bool:
    """Whether as many networks of the same structure are asked for."""
    built = [[(model["architecture"], model["config"]) for model in one["models"]] for one in (asked, past)]
    return built[0] == built[1]


def _scaled(asked: Mapping[str, Any], past: Past, likeness: int) -> dict[str, float]:
    """The finished job's stages as they would be for what is asked."""
    stages, other = dict(past.stages), past.request
    if asked["kind"] == "merge":
        if likeness == 1:
            stages |= dict.fromkeys(set(stages) & set(OF_METHODS), 0.0)
        longer = _measured(asked) / _measured(other)
        return {stage: spent * longer if stage == "curve" else spent for stage, spent in stages.items()}
    if asked["kind"] == "train":
        longer = asked["epochs"] / other["epochs"]
        return {stage: spent * longer if stage == "training" else spent for stage, spent in stages.items()}
    if asked["kind"] == "pictures":
        longer = len(asked["units"]) * asked["settings"]["steps"] / (len(other["units"]) * other["settings"]["steps"])
        return {stage: spent * longer if stage == "rendering" else spent for stage, spent in stages.items()}
    return stages


def _measured(merge: Mapping[str, Any]) -> float:
    """How much a merge's curves measure: points, images, and one path more where it is corrected."""
    return merge["points"] * merge["images"] * (2 + (merge["correct"] != "none"))
