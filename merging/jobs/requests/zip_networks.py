"""The request to zip networks up to each of their layers. torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from merging.errors import InvalidRequest
from merging.jobs.requests.base import ModelRef, Request
from merging.jobs.requests.checks import check_data, check_fit, check_whole, set_fields
from merging.jobs.requests.estimates import Past, same_networks, scale_stages
from merging.jobs.stages import LOADING, SAVING, Stage
from merging.methods.registry import MOST_MODELS, find
from merging.results.zip_report import labels_of
from merging.settings import read_settings, settings_dict
from merging.zoo.architectures.names import trunk_config
from merging.zoo.datasets.known import find_facts

UNCHOSEN = "Heads of different classes have no common loss to choose alpha and beta by: give them."


@dataclass(frozen=True)
class ZipRequest(Request):
    """Zip networks of one structure, whose classes may differ, up to each layer at which a trunk may end.

    settings: of ZipIt!, filled up with its defaults; alpha and beta are given, for heads of different classes have no
    common loss to choose them by.  images: how many of each split.
    """

    models: tuple[ModelRef, ...]
    dataset: str
    data_sha256: str
    settings: dict[str, Any] = field(default_factory=dict)
    images: int = 2000
    seed: int = 0
    kind: ClassVar[str] = "zip"
    plural: ClassVar[str] = "partial zips"
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("loading", 0.05, LOADING),
        Stage("tracing", 0.1, "Find which units may change places"),
        Stage("matching", 0.3, "Match B's units to A's"),
        Stage("heads", 0.5, "Measure every head"),
        Stage("saving", 0.05, SAVING),
    )
    task: ClassVar[str] = "merging.jobs.tasks.zip:zip_task"
    heavy: ClassVar[bool] = True
    by_button: ClassVar[bool] = True
    page: ClassVar[str] = "zip"
    page_parameter: ClassVar[str] = "zip"
    VERSION: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.settings.get("choose"):
            raise InvalidRequest(UNCHOSEN)
        filled = settings_dict(read_settings(find("align", "zipit").settings, {"choose": False, **self.settings}))
        set_fields(self, models=tuple(self.models), settings=filled)
        check_data(self.dataset, self.data_sha256, required=True)
        check_whole(self, "images", "seed")
        if not 2 <= len(self.models) <= MOST_MODELS:
            raise InvalidRequest(f"2 to {MOST_MODELS} networks can be zipped; got {len(self.models)}.")
        if not self.data_sha256:
            raise InvalidRequest("Zipping needs images, and those of these networks are not on this machine.")
        for model in self.models:
            self._check(model)

    def _check(self, model: ModelRef) -> None:
        first, known = self.models[0], find_facts(self.dataset)
        check_fit(self.dataset, model.architecture, {"in_shape": model.config.get("in_shape", ())})
        if (model.architecture, trunk_config(model.config)) != (first.architecture, trunk_config(first.config)):
            raise InvalidRequest(
                f"{first.name} is {first.label} and {model.name} is {model.label}; only networks of one structure, up "
                "to their numbers of outputs, can be zipped."
            )
        if (model.mean, model.std) != (first.mean, first.std):
            raise InvalidRequest(f"{first.name} and {model.name} expect their images normalised differently.")
        if known is not None:  # a worker has the images and not what is known of them; it looks again
            labels_of(model.classes, known.classes, model.name, known.label)

    @property
    def checkpoints(self) -> tuple[ModelRef, ...]:
        """The networks."""
        return self.models

    @property
    def title(self) -> str:
        """What a list of jobs shows."""
        return f"{' + '.join(model.name for model in self.models)}: partial zip"

    @property
    def data(self) -> tuple[str, str, int | None]:
        """Data set, the sha256 of its images, and how many of each split."""
        return self.dataset, self.data_sha256, self.images

    @classmethod
    def likeness(cls, asked: Mapping[str, Any], past: Mapping[str, Any]) -> int:
        """2 for the same networks."""
        same = same_networks(asked, past) and bool(asked["data_sha256"]) == bool(past["data_sha256"])
        return 2 * same

    @classmethod
    def scaled(cls, asked: Mapping[str, Any], past: Past, likeness: int) -> dict[str, float]:
        """By the number of images."""
        return scale_stages(past.stages, ("matching", "heads"), asked["images"] / past.request["images"])
