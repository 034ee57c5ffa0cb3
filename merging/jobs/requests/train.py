"""Request to train a network. torch-free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Any, ClassVar

from merging.errors import InvalidRequest
from merging.jobs.requests.base import LONG, ModelRef, Request
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
from merging.zoo.architectures.names import WIDTHS, describe
from merging.zoo.datasets.known import dataset_label
from merging.zoo.training.options import TrainingOptions

IMAGE = 784  # inputs of the first layer, for a rough estimate of the work
STEP = 100_000  # what one step costs beside its multiplications, in pairs of units
SMALL = 500_000  # weights of an MLP up to which several together take less time (`python -m benchmarks.training`)


def kept_name(epoch: int) -> str:
    """Name of the artifact that holds the network after this epoch of a longer training."""
    return f"epoch-{epoch}.safetensors"


@dataclass(frozen=True)
class TrainRequest(Request):
    """Train a built-in architecture on a data set; the result becomes a model of the owner.

    Attributes:
        settings: those of TrainingOptions that differ from their defaults.
        keep: epochs, in ascending order, after which the network is stored too; 0 is before the first.
        start: network of the same structure whose weights the training starts from; None for random ones.
    """

    architecture: str
    config: dict[str, Any]
    dataset: str
    data_sha256: str
    epochs: int = 5
    seed: int = 0
    name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    keep: tuple[int, ...] = ()
    start: ModelRef | None = None
    LATER: ClassVar[Mapping[str, Any]] = {"settings": {}, "keep": [], "start": None}
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
        self._check_keep()
        self._check_start()

    def _check_keep(self) -> None:
        set_fields(self, keep=tuple(self.keep))
        whole = all(isinstance(epoch, int) and not isinstance(epoch, bool) for epoch in self.keep)
        if not whole or list(self.keep) != sorted(set(self.keep)) or not set(self.keep) <= set(range(self.epochs)):
            raise InvalidRequest(
                f"The epochs to store must be whole numbers from 0 to {self.epochs - 1}, in ascending order; got "
                f"{list(self.keep)}. The network after the last epoch is always stored."
            )

    def _check_start(self) -> None:
        start = self.start
        if start is None:
            return
        mine = {name: value for name, value in start.config.items() if name in self.config}
        if start.architecture != self.architecture or mine != self.config:
            raise InvalidRequest(
                f"{start.name} is {start.label}, the network to train is {describe(self.architecture, self.config)}. "
                "Start from a network of the same structure."
            )

    @property
    def checkpoints(self) -> tuple[ModelRef, ...]:
        """The network that the training starts from, if there is one."""
        return () if self.start is None else (self.start,)

    @property
    def lane(self) -> str:
        """Long."""
        return LONG

    @cached_property
    def company(self) -> str:
        """Equal for small MLPs that differ only in their seed: `train_together` gives each its own bytes."""
        if self.architecture != "mlp" or self.start is not None or self.settings.get("lora"):
            return ""
        shape, widths, classes = self.config.get("in_shape"), self.config["widths"], self.config.get("classes")
        if not isinstance(shape, list) or not all(isinstance(size, int) for size in (*shape, *widths, classes)):
            return ""
        if sum(first * second for first, second in pairwise([prod(shape), *widths, classes])) > SMALL:
            return ""
        return json.dumps({**asdict(self), "seed": 0}, sort_keys=True)

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
        """2 for the same structure, data set and share of it; 1 for other sizes of the same architecture."""
        if any(asked[key] != past[key] for key in ("architecture", "data_sha256")):
            return 0
        parts = [{name: one.get("settings", {}).get(name) for name in ("share", "split")} for one in (asked, past)]
        return 1 + (asked["config"] == past["config"] and parts[0] == parts[1])

    @classmethod
    def scaled(cls, asked: Mapping[str, Any], past: Past, likeness: int) -> dict[str, float]:
        """Stage -> expected seconds, scaled by the number of epochs, and by the work if the sizes differ."""
        factor = asked["epochs"] / past.request["epochs"]
        if likeness == 1:
            factor *= _work(asked) / _work(past.request)
        return scale_stages(past.stages, ("training",), factor)


def _work(request: Mapping[str, Any]) -> float:
    """Relative work of an epoch: share of the images times (a constant for every step + the pairs of units)."""
    settings, config = request.get("settings", {}), request["config"]
    sizes = [size for name in WIDTHS for size in _sizes(config.get(name))]
    units = sum(first * second for first, second in pairwise([*sizes[:1], *sizes])) + IMAGE * sum(sizes[:1])
    part = settings.get("share", 1.0) * (0.5 if settings.get("split", "none") != "none" else 1.0)
    return float(part * (STEP + units))


def _sizes(value: Any) -> list[float]:
    """The numbers in an entry of a configuration, which is a number, a list of them, or missing."""
    return [float(one) for one in (value if isinstance(value, list) else [value]) if isinstance(one, int | float)]
