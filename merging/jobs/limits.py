"""Limits on jobs and files: caps per owner, time limits per kind of job, sizes; set by MERGESCOPE_* variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from merging.errors import InvalidSetting
from merging.jobs.requests.registry import kinds

PREFIX = "MERGESCOPE_"
MOST = 1e12  # every limit is below this number


def _limit(default: float, what: str, low: float = 1) -> float:
    return field(default=default, metadata={"what": what, "low": low})


@dataclass(frozen=True)
class Limits:
    """One number per limit; MERGESCOPE_OPEN_JOBS sets `open_jobs`, and so on. Sizes are in MB (10^6 bytes)."""

    open_jobs: float = _limit(24, "queued and running jobs per owner")
    address_jobs: float = _limit(200, "queued and running jobs per network address")
    all_jobs: float = _limit(400, "queued and running jobs of all owners")
    open_sweeps: float = _limit(3, "open sweeps per owner; the limits on jobs count their parts by themselves")
    address_sweeps: float = _limit(100, "open sweeps per network address; a class may share one")
    all_sweeps: float = _limit(200, "open sweeps of all owners")
    teacher_times: float = _limit(10, "factor by which open_jobs is multiplied for owners named in MERGESCOPE_TEACHERS")
    models: float = _limit(40, "uploaded and trained models per owner")
    owner_mb: float = _limit(1_000, "megabytes of models per owner")
    address_mb: float = _limit(3_000, "megabytes of models per network address")
    all_models_mb: float = _limit(6_000, "megabytes of models of all owners; the rest of store_mb is left to runs")
    upload_mb: float = _limit(120, "megabytes per uploaded file")
    visitor_files: float = _limit(
        4, "size of files that one visitor has uploaded but not yet added, in units of upload_mb"
    )
    files_mb: float = _limit(1_000, "megabytes of files that all visitors together have uploaded but not yet added")
    model_mb: float = _limit(400, "megabytes per model")
    streamed_mb: float = _limit(250, "combined megabytes of both networks at or above which a merge is streamed", low=0)
    data_sets: float = _limit(20, "data sets that an owner may add")
    images_mb: float = _limit(2_000, "megabytes of images that an owner may add")
    all_images_mb: float = _limit(20_000, "megabytes of images that all owners together may add")
    store_mb: float = _limit(
        10_000, "megabytes of all artifacts and models together; the oldest finished runs are deleted to make room"
    )
    lease_seconds: float = _limit(10, "seconds without a heartbeat after which a dispatcher counts as dead", low=0.5)
    attempts: float = _limit(2, "number of starts of a job before it fails, if its worker dies each time")

    deadlines: Mapping[str, float] = field(default_factory=dict)  # kind -> seconds, instead of the kind's default

    def deadline(self, kind: str) -> float:
        """Longest time that a job of this kind may run, in seconds."""
        return self.deadlines.get(kind, kinds()[kind].deadline)

    def __post_init__(self) -> None:
        numbers = {limit.name: (getattr(self, limit.name), limit.metadata["low"]) for limit in _numbers()}
        seconds = {f"{kind}_seconds": (value, 1) for kind, value in self.deadlines.items()}
        for name, (value, low) in (numbers | seconds).items():
            if not low <= value < MOST:
                raise InvalidSetting(f"{PREFIX}{name.upper()} is {value:g}. Set a number from {low:g} to {MOST:g}.")


def from_environment() -> Limits:
    """Read the limits from the environment. Raises InvalidSetting if a variable is not a number or is out of bounds."""
    values = {limit.name: value for limit in _numbers() if (value := _given(limit.name)) is not None}
    deadlines = {kind: value for kind in kinds() if (value := _given(f"{kind}_seconds")) is not None}
    return Limits(**values, deadlines=deadlines)


def _numbers() -> tuple[Field[Any], ...]:
    return tuple(limit for limit in fields(Limits) if "low" in limit.metadata)


def teachers() -> frozenset[str]:
    """Owners in the comma-separated MERGESCOPE_TEACHERS, who may have more open jobs than others."""
    return frozenset(name.strip() for name in os.environ.get(f"{PREFIX}TEACHERS", "").split(",") if name.strip())


def _given(name: str) -> float | None:
    """Number in an environment variable, None if it is not set. Raises InvalidSetting if it holds no number."""
    text = os.environ.get(PREFIX + name.upper())
    try:
        return float(text) if text else None
    except ValueError:
        raise InvalidSetting(f"{PREFIX}{name.upper()} is {text!r}. Set a number.") from None
