"""Base of all requests: references to models, and an id that is the hash of the request's contents. torch-free."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from merging.errors import InvalidRequest
from merging.jobs.requests.checks import (
    TEXT,
    channel_numbers,
    check_architecture,
    check_sha256,
    check_text,
    plain_config,
    set_fields,
)
from merging.jobs.requests.estimates import Past
from merging.jobs.stages import Stage
from merging.zoo.architectures.names import describe

LANES = LONG, SHORT, APART, PLANNED = "long", "short", "apart", "planned"  # lanes of the queue
MOST_TOGETHER = 8  # largest number of jobs of a company that a worker does in one pass
if TYPE_CHECKING:
    from merging.zoo.catalogue import Entry


@dataclass(frozen=True)
class ModelRef:
    """A checkpoint, identified by its sha256, and the metadata to build it. `name` is for people; ids ignore it."""

    sha256: str
    name: str
    architecture: str
    config: dict[str, Any]
    dataset: str = ""
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        set_fields(
            self,
            classes=tuple(self.classes),
            mean=channel_numbers(self.mean),
            std=channel_numbers(self.std),
            config=plain_config(self.config),
        )
        check_sha256(self.sha256, f"The checkpoint of {self.name!r}")
        check_text(self.name, "A model's name")
        check_architecture(self.architecture, self.config)
        if len(self.classes) > 10_000 or len(self.mean) != len(self.std) or not all(s > 0 for s in self.std):
            raise InvalidRequest(
                f"{self.name} needs one mean and one std above 0 per channel, and at most 10,000 classes."
            )

    @classmethod
    def of(cls, entry: Entry) -> ModelRef:
        """Reference to a catalogue entry."""
        shared = (entry.dataset, entry.classes, entry.mean, entry.std)
        return cls(entry.sha256, entry.name[:TEXT], entry.architecture, dict(entry.config), *shared)

    @property
    def label(self) -> str:
        """Readable architecture, such as "MLP 3×512"."""
        return describe(self.architecture, self.config)


@dataclass(frozen=True)
class Request:
    """Base class of requests. Each subclass declares everything about one kind of job; `registry` finds the subclasses.

    Attributes:
        kind: key of the kind, part of every id.
        VERSION: increased by hand when the meaning of the kind's results changes.
        plural: name of the kind's jobs in lists.
        stages: the stages of a job, in order.
        deadline: longest run time of a job in seconds; MERGESCOPE_<KIND>_SECONDS overrides this default.
        task: "module:function" that computes a job on a worker, `(request, payload, report) -> {artifact: bytes}`; ""
            for a kind that the dispatcher runs itself.
        by_button: whether people start a job with a button; jobs of other kinds start when someone views a run.
        page, page_parameter: the page that shows the result, and the parameter of its address that holds the job's id.
        needs_images: whether a job cannot run without the images of its data set.
        LATER: fields that were added later -> the value with which an id leaves them out, so that it is as before.
    """

    kind: ClassVar[str]
    VERSION: ClassVar[int]
    plural: ClassVar[str]
    stages: ClassVar[tuple[Stage, ...]]
    deadline: ClassVar[float] = 1_800
    task: ClassVar[str] = ""
    by_button: ClassVar[bool] = False
    page: ClassVar[str] = ""
    page_parameter: ClassVar[str] = ""
    needs_images: ClassVar[bool] = False
    LATER: ClassVar[Mapping[str, Any]] = {}

    @cached_property
    def id(self) -> str:
        """sha256 of the canonical request, 64 hexadecimal digits."""
        return hashlib.sha256(canonical(self).encode()).hexdigest()

    def to_json(self) -> str:
        """JSON text of the request, which `from_json` reads."""
        return json.dumps({"kind": self.kind, **asdict(self)}, sort_keys=True, ensure_ascii=False)

    @property
    def checkpoints(self) -> tuple[ModelRef, ...]:
        """Models that the job reads."""
        return ()

    @property
    def title(self) -> str:
        """Title of the job in lists."""
        raise NotImplementedError

    @property
    def lane(self) -> str:
        """LONG for jobs that may take minutes; SHORT for what someone waits for, which never waits behind LONG jobs.

        APART: jobs that the dispatcher runs itself. PLANNED: jobs whose parts the dispatcher submits.
        """
        return SHORT

    @cached_property
    def company(self) -> str:
        """Equal for jobs that a worker does faster in one pass than one by one; "" for a job that is done by itself."""
        return ""

    @property
    def data(self) -> tuple[str, str, int | None]:
        """(data set, sha256 of its images, number of images per split or None for all); ("", "", 0) without images."""
        return "", "", 0

    @property
    def merge_id(self) -> str:
        """Id of the merge whose artifacts the job reads, "" for none."""
        return ""

    @classmethod
    def shares(cls) -> tuple[tuple[str, float], ...]:
        """(stage, share of the whole job's duration) in a typical run, in order."""
        return tuple((stage.name, stage.share) for stage in cls.stages)

    @classmethod
    def stage_words(cls, request: Mapping[str, Any]) -> dict[str, str]:
        """Stage -> its description. request: JSON values."""
        return {stage.name: stage.words for stage in cls.stages}

    @classmethod
    def likeness(cls, asked: Mapping[str, Any], past: Mapping[str, Any]) -> int:
        """Similarity of a new and a finished request, both as JSON values, for a forecast of the duration.

        0: no similarity; 1: networks of the same structure; 2: the same work on networks of the same structure.
        """
        raise NotImplementedError

    @classmethod
    def scaled(cls, asked: Mapping[str, Any], past: Past, likeness: int) -> dict[str, float]:
        """Stage -> expected seconds of `asked`, from a finished job with this likeness."""
        return dict(past.stages)


def canonical(request: Request) -> str:
    """JSON text that is equal for equal requests: sorted keys, models without their names."""
    values = _nameless(asdict(request))
    values = {name: value for name, value in values.items() if request.LATER.get(name, ...) != value}
    return json.dumps(
        {"kind": request.kind, "version": request.VERSION, **values}, sort_keys=True, separators=(",", ":")
    )


def _nameless(values: Any) -> Any:
    """Copy of the values without the names of models, at any depth."""
    if isinstance(values, dict):
        fields = {name: value for name, value in values.items() if not (name == "name" and "sha256" in values)}
        return {name: _nameless(value) for name, value in fields.items()}
    return [_nameless(value) for value in values] if isinstance(values, list | tuple) else values
