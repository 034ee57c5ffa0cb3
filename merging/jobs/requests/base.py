"""What all requests are made of: references to models, and an id that is the hash of what is asked. No torch."""

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

if TYPE_CHECKING:
    from merging.zoo.catalogue import Entry


@dataclass(frozen=True)
class ModelRef:
    """A checkpoint by its content, with what is needed to build it. `name` is for people and no part of any id."""

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
                f"{self.name}: mean and std need one number a channel, std above 0, at most 10,000 classes."
            )

    @classmethod
    def of(cls, entry: Entry) -> ModelRef:
        """The reference of a catalogue entry."""
        shared = (entry.dataset, entry.classes, entry.mean, entry.std)
        return cls(entry.sha256, entry.name[:TEXT], entry.architecture, dict(entry.config), *shared)

    @property
    def label(self) -> str:
        """The architecture in words, such as "MLP 3×512"."""
        return describe(self.architecture, self.config)


@dataclass(frozen=True)
class Request:
    """A request of some kind. A kind declares everything about its jobs here; its file is found by `registry`.

    Attributes:
        kind: the key, part of every id.
        VERSION: raised by hand when the meaning of the kind's results changes.
        plural: the word for its jobs in lists.
        stages: the stages of its jobs, in order.
        deadline: seconds that a job may run, unless MERGESCOPE_<KIND>_SECONDS says otherwise.
        task: "module:function" that computes it on a worker, `(request, payload, report) -> {artifact: bytes}`; "" for
            what the dispatcher does itself.
        heavy: whether it may run for long, so that one slot is kept free of such jobs.
        by_button: whether people start it by a button; other jobs follow from looking at a run.
        page, page_parameter: the page that shows its result, and the parameter of its address that names the job.
        needs_images: whether it cannot run without the images of its data set.
    """

    kind: ClassVar[str]
    VERSION: ClassVar[int]
    plural: ClassVar[str]
    stages: ClassVar[tuple[Stage, ...]]
    deadline: ClassVar[float] = 1_800
    task: ClassVar[str] = ""
    heavy: ClassVar[bool] = False
    by_button: ClassVar[bool] = False
    page: ClassVar[str] = ""
    page_parameter: ClassVar[str] = ""
    needs_images: ClassVar[bool] = False

    @cached_property
    def id(self) -> str:
        """sha256 of the canonical request, 64 hexadecimal digits."""
        return hashlib.sha256(canonical(self).encode()).hexdigest()

    def to_json(self) -> str:
        """The request as JSON text that `from_json` reads."""
        return json.dumps({"kind": self.kind, **asdict(self)}, sort_keys=True, ensure_ascii=False)

    @property
    def checkpoints(self) -> tuple[ModelRef, ...]:
        """The models it reads."""
        return ()

    @property
    def title(self) -> str:
        """What a list of jobs shows."""
        raise NotImplementedError

    @property
    def data(self) -> tuple[str, str, int | None]:
        """Data set, the sha256 of its images, and how many of each split (None: all); ("", "", 0) for none."""
        return "", "", 0

    @property
    def merge_id(self) -> str:
        """The id of the merge whose artifacts it reads, "" for none."""
        return ""

    @classmethod
    def shares(cls) -> tuple[tuple[str, float], ...]:
        """(stage, share of the whole job) in a usual run, in order."""
        return tuple((stage.name, stage.share) for stage in cls.stages)

    @classmethod
    def stage_words(cls, request: Mapping[str, Any]) -> dict[str, str]:
        """Stage -> what it does, for a request given as JSON values."""
        return {stage.name: stage.words for stage in cls.stages}

    @classmethod
    def likeness(cls, asked: Mapping[str, Any], past: Mapping[str, Any]) -> int:
        """How well the duration of a finished request forecasts that of another one; both as JSON values.

        0: not at all; 1: the same networks; 2: the same work on them.
        """
        raise NotImplementedError

    @classmethod
    def scaled(cls, asked: Mapping[str, Any], past: Past, likeness: int) -> dict[str, float]:
        """Stage -> expected seconds, from a finished job with that likeness."""
        return dict(past.stages)


def canonical(request: Request) -> str:
    """The request as one JSON text that is equal for equal questions: sorted keys, models without their names."""
    values = _nameless(asdict(request))
    if values.get("other", "") is None:  # a question without it is what it was before one could be named
        del values["other"]
    return json.dumps(
        {"kind": request.kind, "version": request.VERSION, **values}, sort_keys=True, separators=(",", ":")
    )


def _nameless(values: Any) -> Any:
    """The values without the names of models, at any depth."""
    if isinstance(values, dict):
        kept = {name: value for name, value in values.items() if not (name == "name" and "sha256" in values)}
        return {name: _nameless(value) for name, value in kept.items()}
    return [_nameless(value) for value in values] if isinstance(values, list | tuple) else values
