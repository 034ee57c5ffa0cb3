"""Request for a partial zip (ZipIt!) of networks up to each of their layers. torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from merging.errors import InvalidRequest
from merging.jobs.requests.base import LONG, ModelRef, Request
from merging.jobs.requests.checks import check_data, check_fit, check_whole, set_fields
from merging.jobs.requests.estimates import Past, same_networks, scale_stages
from merging.jobs.stages import LOADING, SAVING, Stage
from merging.methods.registry import MOST_MODELS, find
from merging.results.zip_report import labels_of
from merging.settings import read_settings, settings_dict
from merging.zoo.architectures.names import trunk_config
from merging.zoo.datasets.known import find_facts

UNCHOSEN = (
    "Alpha and beta cannot be chosen automatically, because heads with different classes have no common loss. Set both."
)


@dataclass(frozen=True)
class ZipRequest(Request):
    """Zip networks of the same structure up to each layer at which the shared trunk can end; their classes may differ.

    Attributes:
        models: the networks.
        settings: settings of ZipIt!, completed with its defaults. alpha and beta must be set: they cannot be chosen by
            the loss, because heads with different classes have no common loss.
        images: number of images per split.

    The other fields are those of MergeRequest.
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
        Stage("tracing", 0.1, "Find which units can be permuted"),
        Stage("matching", 0.3, "Match B's units to A's"),
        Stage("heads", 0.5, "Measure every head"),
        Stage("saving", 0.05, SAVING),
    )
    task: ClassVar[str] = "merging.jobs.tasks.zip:zip_task"
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
            raise InvalidRequest(f"A partial zip takes 2 to {MOST_MODELS} networks; got {len(self.models)}.")
        if not self.data_sha256:
            raise InvalidRequest(
                "A partial zip needs images, and they are not on this machine. Download or upload them on Models."
            )
        for model in self.models:
            self._check(model)

    def _check(self, model: ModelRef) -> None:
        first, facts = self.models[0], find_facts(self.dataset)
        check_fit(self.dataset, model.architecture, {"in_shape": model.config.get("in_shape", ())})
        if (model.architecture, trunk_config(model.config)) != (first.architecture, trunk_config(first.config)):
            raise InvalidRequest(
                f"{first.name} is {first.label} and {model.name} is {model.label}. Choose networks of the same "
                "structure; only their numbers of outputs may differ."
            )
        if (model.mean, model.std) != (first.mean, first.std):
            raise InvalidRequest(
                f"{first.name} and {model.name} normalise images with a different mean or std. Choose other networks."
            )
        if facts is not None:  # unknown on a worker, where the task itself checks the classes
            labels_of(model.classes, facts.classes, model.name, facts.label)

    @property
    def checkpoints(self) -> tuple[ModelRef, ...]:
        """The networks."""
        return self.models

    @property
    def lane(self) -> str:
        """Long."""
        return LONG

    @property
    def title(self) -> str:
        """Title of the job in lists."""
        return f"{' + '.join(model.name for model in self.models)}: partial zip"

    @property
    def data(self) -> tuple[str, str, int | None]:
        """(data set, sha256 of its images, number of images per split)."""
        return self.dataset, self.data_sha256, self.images

    @classmethod
    def likeness(cls, asked: Mapping[str, Any], past: Mapping[str, Any]) -> int:
        """2 for the same structures, 0 otherwise."""
        same = same_networks(asked, past) and bool(asked["data_sha256"]) == bool(past["data_sha256"])
        return 2 * same

    @classmethod
    def scaled(cls, asked: Mapping[str, Any], past: Past, likeness: int) -> dict[str, float]:
        """Stage -> expected seconds, scaled by the number of images."""
        return scale_stages(past.stages, ("matching", "heads"), asked["images"] / past.request["images"])
