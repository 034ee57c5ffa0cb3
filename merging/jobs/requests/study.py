"""The request for a study of a finished merge. torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from merging.errors import InvalidRequest
from merging.jobs.requests.base import ModelRef, Request
from merging.jobs.requests.checks import check_whole, set_fields
from merging.jobs.requests.estimates import same_networks
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.stages import LOADING, SAVING, Stage
from merging.settings import read_settings, settings_dict
from merging.studies.registry import find_study


@dataclass(frozen=True)
class StudyRequest(Request):
    """Ask a study's question of a merge that was made. settings: the study's own, filled up with its defaults.

    other: a network "C" beside those that were merged, of their structure, for studies that take one.
    """

    merge: MergeRequest
    study: str
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    version: int = 0
    other: ModelRef | None = None
    kind: ClassVar[str] = "study"
    plural: ClassVar[str] = "studies"
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("loading", 0.05, LOADING),
        Stage("studying", 0.93, "Look into the merge"),
        Stage("saving", 0.02, SAVING),
    )
    task: ClassVar[str] = "merging.jobs.tasks.study:study_task"
    VERSION: ClassVar[int] = 1

    def __post_init__(self) -> None:
        asked = find_study(self.study)
        set_fields(self, settings=settings_dict(read_settings(asked.settings, self.settings)), version=asked.version)
        check_whole(self, "seed")
        if self.merge.unequal:
            raise InvalidRequest(f"{asked.label} is not there for networks that differ in the widths of their layers.")
        self._check_other(asked.takes_other)
        if asked.needs_data and not self.merge.data_sha256:
            raise InvalidRequest(f"{asked.label} needs images, and this merge was made without any.")

    def _check_other(self, takes: bool) -> None:
        a, c = self.merge.models[0], self.other
        if c is None:
            if "C" in str(self.settings.get("pair", "")).split("-"):
                raise InvalidRequest("There is no network C beside the merged ones; name one of their structure.")
            return
        if not takes:
            raise InvalidRequest(f"{find_study(self.study).label} looks at no network beside the merged ones.")
        if c.sha256 in {model.sha256 for model in self.merge.models}:
            raise InvalidRequest(f"{c.name} is one of the merged networks already; choose another.")
        alike = [(ref.architecture, ref.config, ref.mean, ref.std, ref.classes, ref.dataset) for ref in (a, c)]
        if alike[0] != alike[1]:
            raise InvalidRequest(
                f"{c.name} is {c.label} and {a.name} is {a.label}; only networks of one structure, for the same images "
                "and classes, can be looked at together."
            )

    @property
    def checkpoints(self) -> tuple[ModelRef, ...]:
        """The networks that were merged, and the one beside them."""
        return self.merge.checkpoints if self.other is None else (*self.merge.checkpoints, self.other)

    @property
    def title(self) -> str:
        """What a list of jobs shows."""
        asked = find_study(self.study)
        usual = settings_dict(read_settings(asked.settings, None))
        about = [value for name, value in self.settings.items() if isinstance(value, str) and value != usual[name]]
        return f"{asked.label}{''.join(f', {word}' for word in about)}: {self.merge.title}"

    @property
    def data(self) -> tuple[str, str, int | None]:
        """The images of the merge."""
        return self.merge.data

    @property
    def merge_id(self) -> str:
        """The id of the merge that it looks into."""
        return self.merge.id

    @classmethod
    def likeness(cls, asked: Mapping[str, Any], past: Mapping[str, Any]) -> int:
        """2 for the same study of the same structure with the same settings, wherever it looks."""
        same = asked["study"] == past["study"] and same_networks(asked["merge"], past["merge"])
        places = find_study(asked["study"]).places
        work = [{name: value for name, value in one["settings"].items() if name not in places} for one in (asked, past)]
        return 2 * (same and work[0] == work[1])
