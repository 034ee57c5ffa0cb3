"""Request for feature-visualization pictures of units. torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from merging.analysis.pictures.settings import PictureSettings
from merging.errors import InvalidRequest
from merging.jobs.requests.base import ModelRef, Request
from merging.jobs.requests.checks import check_text, check_whole, set_fields
from merging.jobs.requests.estimates import Past, same_networks, scale_stages
from merging.jobs.stages import LOADING, SAVING, Stage
from merging.settings import read_settings, settings_dict

MAX_UNITS = 16


@dataclass(frozen=True)
class PicturesRequest(Request):
    """Make feature-visualization pictures of some units of one layer, starting from random noise with this seed.

    settings: values of PictureSettings, completed with its defaults.
    """

    model: ModelRef
    layer: str
    units: tuple[int, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    kind: ClassVar[str] = "pictures"
    plural: ClassVar[str] = "pictures"
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("loading", 0.1, LOADING),
        Stage("rendering", 0.85, "Make the pictures"),
        Stage("saving", 0.05, SAVING),
    )
    deadline: ClassVar[float] = 900
    task: ClassVar[str] = "merging.jobs.tasks.pictures:pictures_task"
    VERSION: ClassVar[int] = 3

    def __post_init__(self) -> None:
        if not all(isinstance(unit, int) and 0 <= unit < 1_000_000 for unit in self.units):
            raise InvalidRequest(f"Units must be whole numbers, counted from 0; got {self.units!r}.")
        settings = read_settings(PictureSettings, self.settings)
        set_fields(self, units=tuple(sorted(set(self.units))), settings=settings_dict(settings))
        if not 1 <= len(self.units) <= MAX_UNITS:
            raise InvalidRequest(f"A request must have 1 to {MAX_UNITS} units; got {len(self.units)}.")
        check_text(self.layer, "A layer's name")
        check_whole(self, "seed")

    @property
    def checkpoints(self) -> tuple[ModelRef, ...]:
        """The network."""
        return (self.model,)

    @property
    def title(self) -> str:
        """Title of the job in lists."""
        numbers = ", ".join(map(str, self.units[:6])) + (", ..." if len(self.units) > 6 else "")
        return f"Pictures of {self.model.name}, {self.layer}, units {numbers}"

    @classmethod
    def likeness(cls, asked: Mapping[str, Any], past: Mapping[str, Any]) -> int:
        """2 for the same structure and layer, 1 for the same structure, 0 otherwise."""
        same = same_networks({"models": [asked["model"]]}, {"models": [past["model"]]})
        return same * (1 + (asked["layer"] == past["layer"]))

    @classmethod
    def scaled(cls, asked: Mapping[str, Any], past: Past, likeness: int) -> dict[str, float]:
        """Stage -> expected seconds, scaled by the number of units times steps."""
        steps = [len(one["units"]) * one["settings"]["steps"] for one in (asked, past.request)]
        return scale_stages(past.stages, ("rendering",), steps[0] / steps[1])
