"""Request to train a network. torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from merging.jobs.requests.base import LONG, Request
from merging.jobs.requests.checks import (
    check_architecture,
    check_data,
    check_fit,
    check_text,
    check_whole,
    plain_config,
    set_fields,
)
from merging.jobs.requests.estimates import Past, scale_stages
from merging.jobs.stages import LOADING, SAVING, Stage
from merging.settings import changed_settings
from merging.zoo.architectures.names import describe
from merging.zoo.datasets.known import dataset_label
from merging.zoo.training.options import TrainingOptions


@dataclass(frozen=True)
class TrainRequest(Request):
    """Train a built-in architecture on a data set; the result becomes a model of the owner.

    Attributes:
        settings: those of TrainingOptions that differ from their defaults.
    """

    architecture: str
    config: dict[str, Any]
    dataset: str
    data_sha256: str
    epochs: int = 5
    seed: int = 0
    name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    LATER: ClassVar[Mapping[str, Any]] = {"settings": {}}
    kind: ClassVar[str] = "train"
    plural: ClassVar[str] = "trainings"
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("loading", 0.02, LOADING),
        Stage("training", 0.95, "Train"),
        Stage("saving", 0.03, SAVING),
    )
    deadline: ClassVar[float] = 7_200
    task: ClassVar[str] = "merging.jobs.tasks.train:train_task"
    by_button: ClassVar[bool] = True
    page: ClassVar[str] = "models"
    needs_images: ClassVar[bool] = True
    VERSION: ClassVar[int] = 1

    def __post_init__(self) -> None:
        set_fields(self, config=plain_config(self.config), settings=changed_settings(TrainingOptions, self.settings))
        check_architecture(self.architecture, self.config)
        check_text(self.name or "-", "A model's name")
        check_data(self.dataset, self.data_sha256, required=True)
        check_fit(self.dataset, self.architecture, self.config)
        check_whole(self, "epochs", "seed")

    @property
    def lane(self) -> str:
        """Long."""
        return LONG

    @property
    def title(self) -> str:
        """Title of the job in lists."""
        built = f"{describe(self.architecture, self.config)} on {dataset_label(self.dataset)}, seed {self.seed}"
        return f"Train {self.name or built}"

    @property
    def data(self) -> tuple[str, str, int | None]:
        """(data set, sha256 of its images, None for all images)."""
        return self.dataset, self.data_sha256, None

    @classmethod
    def likeness(cls, asked: Mapping[str, Any], past: Mapping[str, Any]) -> int:
        """1 for the same structure, data set and share of it, 0 otherwise."""
        alike = all(asked[key] == past[key] for key in ("architecture", "config", "data_sha256"))
        parts = [{name: one.get("settings", {}).get(name) for name in ("share", "split")} for one in (asked, past)]
        return int(alike and parts[0] == parts[1])

    @classmethod
    def scaled(cls, asked: Mapping[str, Any], past: Past, likeness: int) -> dict[str, float]:
        """Stage -> expected seconds, scaled by the number of epochs."""
        return scale_stages(past.stages, ("training",), asked["epochs"] / past.request["epochs"])
