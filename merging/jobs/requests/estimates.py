"""Estimates of durations from finished jobs, shared by the kinds of requests. torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Past:
    """A finished job.

    Attributes:
        request: the job's request as JSON values.
        stages: stage -> seconds, "" for the time between stages.
    """

    request: Mapping[str, Any]
    stages: Mapping[str, float]


def same_networks(asked: Mapping[str, Any], past: Mapping[str, Any]) -> bool:
    """Whether two requests, as JSON values, have networks of the same structures in the same order."""
    built = [[(model["architecture"], model["config"]) for model in one["models"]] for one in (asked, past)]
    return built[0] == built[1]


def scale_stages(stages: Mapping[str, float], which: Sequence[str], factor: float) -> dict[str, float]:
    """Seconds per stage, multiplied by `factor` for the stages in `which`."""
    return {stage: spent * factor if stage in which else spent for stage, spent in stages.items()}
