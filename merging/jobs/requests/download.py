"""Request to download a data set. torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from merging.errors import InvalidRequest
from merging.jobs.requests.base import APART, Request
from merging.jobs.stages import Stage
from merging.zoo.datasets.facts import FACTS


@dataclass(frozen=True)
class DownloadRequest(Request):
    """Download a data set to the machine that runs the program."""

    dataset: str
    kind: ClassVar[str] = "download"
    plural: ClassVar[str] = "downloads"
    stages: ClassVar[tuple[Stage, ...]] = (Stage("downloading", 1.0, "Download"),)
    deadline: ClassVar[float] = 3_600
    by_button: ClassVar[bool] = True
    page: ClassVar[str] = "models"
    VERSION: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.dataset not in FACTS:
            raise InvalidRequest(f"{self.dataset!r} cannot be downloaded. Choose one of {', '.join(FACTS)}.")

    @property
    def lane(self) -> str:
        """Apart: the dispatcher downloads by itself."""
        return APART

    @property
    def title(self) -> str:
        """Title of the job in lists."""
        return f"Download {FACTS[self.dataset].label}"

    @classmethod
    def likeness(cls, asked: Mapping[str, Any], past: Mapping[str, Any]) -> int:
        """1 for the same data set, 0 otherwise."""
        return int(asked["dataset"] == past["dataset"])
