"""What the engine allows, whoever asks: caps an owner, deadlines a kind, sizes. Set by MERGESCOPE_* variables."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields

from merging.errors import InvalidSetting

PREFIX = "MERGESCOPE_"


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
    merge_seconds: float = _limit(1_800, "deadline of a merge")
    pictures_seconds: float = _limit(900, "deadline of a job that makes pictures")
    study_seconds: float = _limit(1_800, "deadline of a study of a merge")
    zip_seconds: float = _limit(1_800, "deadline of a partial zip")
    train_seconds: float = _limit(7_200, "deadline of a training")
    download_seconds: float = _limit(3_600, "deadline of a download")
    lease_seconds: float = _limit(10, "silence after which a dispatcher counts as dead", low=0.5)
    attempts: float = _limit(2, "times a job is started before its dying worker fails it")

    def deadline(self, kind: str) -> float:
        """Seconds that a job of this kind may run."""
        return getattr(self, f"{kind}_seconds")

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, low = getattr(self, limit.name), limit.metadata["low"]
            if not value >= low:
                raise InvalidSetting(f"{PREFIX}{limit.name.upper()} is {value}; it must be at least {low}.")


def from_environment() -> Limits:
    """The limits as the environment sets them. Raises InvalidSetting where a variable is not a number or too small."""
    given = {limit.name: os.environ.get(PREFIX + limit.name.upper()) for limit in fields(Limits)}
    return Limits(**{name: _number(name, text) for name, text in given.items() if text})


def teachers() -> frozenset[str]:
    """The owners named in MERGESCOPE_TEACHERS, with commas between, who may have more open jobs than others."""
    return frozenset(name.strip() for name in os.environ.get(f"{PREFIX}TEACHERS", "").split(",") if name.strip())


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidSetting(f"{PREFIX}{name.upper()} is {text!r}; it must be a number.") from None
