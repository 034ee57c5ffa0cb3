"""What the engine allows, whoever asks: caps an owner, deadlines a kind, sizes. Set by MERGESCOPE_* variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from merging.errors import InvalidSetting
from merging.jobs.requests.registry import kinds

PREFIX = "MERGESCOPE_"
MOST = 1e12


def _limit(default: float, what: str, low: float = 1) -> float:
    return field(default=default, metadata={"what": what, "low": low})


@dataclass(frozen=True)
class Limits:
    """One number a field; MERGESCOPE_OPEN_JOBS sets `open_jobs`, and so on. Sizes in MB (10^6 bytes)."""

    open_jobs: float = _limit(24, "queued and running jobs an owner")
    address_jobs: float = _limit(200, "queued and running jobs from one address of the network")
    all_jobs: float = _limit(400, "queued and running jobs of all owners")
    teacher_times: float = _limit(10, "times open_jobs that an owner named in MERGESCOPE_TEACHERS may have")
    models: float = _limit(40, "uploaded and trained models an owner")
    owner_mb: float = _limit(1_000, "megabytes of models an owner")
    upload_mb: float = _limit(120, "megabytes of one file that is uploaded")
    visitor_files: float = _limit(4, "times upload_mb that the files of one visitor may have that are being looked at")
    files_mb: float = _limit(1_000, "megabytes of all files that are being looked at")
    model_mb: float = _limit(400, "megabytes of one model")
    streamed_mb: float = _limit(250, "megabytes of two networks from which they are merged tensor by tensor", low=0)
    data_sets: float = _limit(20, "data sets of own images an owner")
    images_mb: float = _limit(2_000, "megabytes of own images an owner")
    all_images_mb: float = _limit(20_000, "megabytes of all people's own images")
    store_mb: float = _limit(10_000, "megabytes of all artifacts and models; the oldest finished runs go first")
    lease_seconds: float = _limit(10, "silence after which a dispatcher counts as dead", low=0.5)
    attempts: float = _limit(2, "times a job is started before its dying worker fails it")

    deadlines: Mapping[str, float] = field(default_factory=dict)  # kind of job -> seconds, where not the kind's own

    def deadline(self, kind: str) -> float:
        """Seconds that a job of this kind may run."""
        return self.deadlines.get(kind, kinds()[kind].deadline)

    def __post_init__(self) -> None:
        numbers = {limit.name: (getattr(self, limit.name), limit.metadata["low"]) for limit in _numbers()}
        seconds = {f"{kind}_seconds": (value, 1) for kind, value in self.deadlines.items()}
        for name, (value, low) in (numbers | seconds).items():
            if not low <= value < MOST:
                raise InvalidSetting(
                    f"{PREFIX}{name.upper()} is {value:g}; it must be a number from {low:g} to {MOST:g}."
                )


def from_environment() -> Limits:
    """The limits as the environment sets them. Raises InvalidSetting where a variable is not a number or too small."""
    values = {limit.name: value for limit in _numbers() if (value := _given(limit.name)) is not None}
    deadlines = {kind: value for kind in kinds() if (value := _given(f"{kind}_seconds")) is not None}
    return Limits(**values, deadlines=deadlines)


def _numbers() -> tuple[Field[Any], ...]:
    return tuple(limit for limit in fields(Limits) if "low" in limit.metadata)


def teachers() -> frozenset[str]:
    """The owners named in MERGESCOPE_TEACHERS, with commas between, who may have more open jobs than others."""
    return frozenset(name.strip() for name in os.environ.get(f"{PREFIX}TEACHERS", "").split(",") if name.strip())


def _given(name: str) -> float | None:
    """The number that an environment variable holds, None where it is not set."""
    text = os.environ.get(PREFIX + name.upper())
    try:
        return float(text) if text else None
    except ValueError:
        raise InvalidSetting(f"{PREFIX}{name.upper()} is {text!r}; it must be a number.") from None
