"""The request to zip networks up to each of their layers. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from merging.errors import InvalidRequest
from merging.jobs.requests.base import Asked, ModelRef
from merging.jobs.requests.checks import check_data, check_fit, check_whole, set_fields
from merging.methods.registry import MOST_MODELS, find
from merging.results.zip_report import labels_of
from merging.settings import read_settings, settings_dict
from merging.zoo.architectures.names import trunk_config
from merging.zoo.datasets.known import find_facts

UNCHOSEN = "Heads of different classes have no common loss to choose alpha and beta by: give them."


@dataclass(frozen=True)
class ZipRequest(Asked):
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
