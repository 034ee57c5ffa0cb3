"""Request for a study of a finished merge. torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from merging.errors import InvalidRequest
from merging.jobs.requests.base import LONG, SHORT, ModelRef, Request
from merging.jobs.requests.checks import check_whole, set_fields
from merging.jobs.requests.estimates import same_networks
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.stages import LOADING, SAVING, Stage
from merging.settings import read_settings, settings_dict
from merging.studies.registry import find_study


@dataclass(frozen=True)
class StudyRequest(Request):
    """Run a study on a finished merge.

    Attributes:
        merge: request of the merge.
        study: key of the study.
        settings: settings of the study, completed with its defaults.
        seed: seed of the study's random choices.
        version: version of the study, set automatically.
        other: a further network "C" of the same structure, for studies that use one.
    """

    merge: MergeRequest
    study: str
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    version: int = 0
    other: ModelRef | None = None
    LATER: ClassVar[Mapping[str, Any]] = {"other": None}
    kind: ClassVar[str] = "study"
    plural: ClassVar[str] = "studies"
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("loading", 0.05, LOADING),
        Stage("studying", 0.93, "Run the study"),
        Stage("saving", 0.02, SAVING),
    )
    task: ClassVar[str] = "merging.jobs.tasks.study:study_task"
    VERSION: ClassVar[int] = 1

    def __post_init__(self) -> None:
        study = find_study(self.study)
        set_fields(self, settings=settings_dict(read_settings(study.settings, self.settings)), version=study.version)
        check_whole(self, "seed")
        if self.merge.unequal:
            raise InvalidRequest(f"{study.label} needs networks with equal widths. Choose a merge of such networks.")
        self._check_other(study.takes_other)
        if study.needs_data and not self.merge.data_sha256:
            raise InvalidRequest(f"{study.label} needs images, and this merge has none. Run a merge with images.")

    def _check_other(self, takes: bool) -> None:
        a, c = self.merge.models[0], self.other
        if c is None:
            if "C" in str(self.settings.get("pair", "")).split("-"):
                raise InvalidRequest("No network C is chosen. Choose one with the structure of the merged networks.")
            return
        if not takes:
            raise InvalidRequest(
                f"{find_study(self.study).label} uses no network besides the merged ones. Remove network C."
            )
        if c.sha256 in {model.sha256 for model in self.merge.models}:
            raise InvalidRequest(f"{c.name} is one of the merged networks. Choose another network.")
        facts = [(ref.architecture, ref.config, ref.mean, ref.std, ref.classes, ref.dataset) for ref in (a, c)]
        if facts[0] != facts[1]:
            raise InvalidRequest(
                f"{c.name} is {c.label} and {a.name} is {a.label}. Choose a network of the same structure, for the "
                "same images and classes."
            )

    @property
    def checkpoints(self) -> tuple[ModelRef, ...]:
        """The merge's checkpoints, then network C if there is one."""
        return self.merge.checkpoints if self.other is None else (*self.merge.checkpoints, self.other)

    @property
    def lane(self) -> str:
        """As declared by the study."""
        return LONG if find_study(self.study).long else SHORT

    @property
    def title(self) -> str:
        """Title of the job in lists."""
        study = find_study(self.study)
        usual = settings_dict(read_settings(study.settings, None))
        about = [value for name, value in self.settings.items() if isinstance(value, str) and value != usual[name]]
        return f"{study.label}{''.join(f', {word}' for word in about)}: {self.merge.title}"

    @property
    def data(self) -> tuple[str, str, int | None]:
        """Images of the merge."""
        return self.merge.data

    @property
    def merge_id(self) -> str:
        """Id of the merge."""
        return self.merge.id

    @classmethod
    def likeness(cls, asked: Mapping[str, Any], past: Mapping[str, Any]) -> int:
        """2 for the same study of the same structures with the same settings (except the study's `places`), else 0."""
        same = asked["study"] == past["study"] and same_networks(asked["merge"], past["merge"])
        places = find_study(asked["study"]).places
        work = [{name: value for name, value in one["settings"].items() if name not in places} for one in (asked, past)]
        return 2 * (same and work[0] == work[1])
