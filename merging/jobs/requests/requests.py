"""What can be asked for: six frozen, validated requests whose id is the hash of what they ask. No torch.

The same question has the same id in every process and on every machine, whatever the order of its dicts and however
its models are called. VERSION of a kind is raised by hand when the meaning of its results changes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

from merging.analysis.pictures.settings import PictureSettings
from merging.errors import InvalidRequest, InvalidSetting
from merging.jobs.requests.base import Asked, ModelRef, canonical
from merging.jobs.requests.checks import (
    check_architecture,
    check_data,
    check_fit,
    check_text,
    check_whole,
    plain_config,
    set_fields,
)
from merging.jobs.requests.zip_request import ZipRequest
from merging.methods.registry import ROLES, find, table
from merging.settings import read_settings, settings_dict
from merging.studies.registry import find_study
from merging.zoo.architectures.names import describe, differ_in_width, unlike
from merging.zoo.datasets.facts import FACTS
from merging.zoo.datasets.known import dataset_label

__all__ = ["DownloadRequest", "MergeRequest", "ModelRef", "PicturesRequest", "Request", "StudyRequest", "TrainRequest"]
__all__ += ["KINDS", "MAX_UNITS", "ZipRequest", "canonical", "from_json"]
MAX_UNITS = 16


@dataclass(frozen=True)
class MergeRequest(Asked):
    """Merge two to ten networks and measure what happened.

    base: the net that the models were trained from, for methods that ask for it.  settings: {"align": {...},
    "combine": {...}, "correct": {...}}, filled up with the methods' defaults.  images: how many of each split.
    data_sha256: of the images ("" where none are at hand).  points: lambdas of the curves, which two models have.
    """

    models: tuple[ModelRef, ...]
    align: str = "weight-matching"
    combine: str = "average"
    correct: str = "none"
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    dataset: str = ""
    data_sha256: str = ""
    images: int = 2000
    points: int = 25
    seed: int = 0
    base: ModelRef | None = None
    kind: ClassVar[str] = "merge"
    VERSION: ClassVar[int] = 2

    def __post_init__(self) -> None:
        set_fields(self, models=tuple(self.models), settings=self._filled())
        self._check_models()
        a = self.models[0]
        check_data(self.dataset, self.data_sha256, required=False)
        check_fit(self.dataset, a.architecture, a.config)
        check_whole(self, "images", "points", "seed")
        if self.points % 2 == 0:
            raise InvalidRequest(f"points must be odd, so that one of them is half-way; got {self.points}.")

    def _check_models(self) -> None:
        chosen = [find(role, getattr(self, role)) for role in ROLES]
        most = min(chosen, key=lambda method: method.most_models)
        if not 2 <= len(self.models) <= most.most_models:
            raise InvalidRequest(f"{most.label} takes 2 to {most.most_models} models; got {len(self.models)}.")
        needs = [method.label for method in chosen if method.needs_base]
        if bool(needs) != (self.base is not None):
            raise InvalidRequest(
                f"{needs[0]} merges experts of one base network; choose that too."
                if needs
                else "A base network is given, but no chosen method looks at one; leave it out."
            )
        a, wider = self.models[0], find("align", self.align).unequal_widths and len(self.models) == 2
        for b in self.checkpoints[1:]:
            if why := unlike(a, b):
                raise InvalidRequest(f"{why} A is {a.name}, B is {b.name}.")
            same = a.architecture == b.architecture and b is not self.base
            if wider and same and differ_in_width(a.config, b.config):
                continue
            if (a.architecture, a.config) != (b.architecture, b.config):
                wide = len(self.models) == 2 and differ_in_width(a.config, b.config)
                able = [method.label for method in table("align").values() if method.unequal_widths and wide]
                raise InvalidRequest(
                    f"{a.name} is {a.label} and {b.name} is {b.label}; only networks of one structure can be merged."
                    + (f" {' or '.join(able)} takes other widths." if able else "")
                )

    def _filled(self) -> dict[str, dict[str, Any]]:
        unknown = set(self.settings) - set(ROLES)
        if unknown:
            raise InvalidSetting(f"Settings are for {', '.join(ROLES)}, not {', '.join(sorted(map(str, unknown)))}.")
        filled = {}
        for role in ROLES:
            chosen = find(role, getattr(self, role))
            filled[role] = settings_dict(read_settings(chosen.settings, self.settings.get(role)))
        return {role: values for role, values in filled.items() if values}

    @property
    def unequal(self) -> bool:
        """Whether its networks differ in the widths of their hidden layers."""
        return any(model.config != self.models[0].config for model in self.models)

    @property
    def checkpoints(self) -> tuple[ModelRef, ...]:
        """A, B ..., and the base behind them."""
        return self.models if self.base is None else (*self.models, self.base)

    @property
    def title(self) -> str:
        """What a list of jobs shows."""
        steps = [find(role, getattr(self, role)).label for role in ROLES if (role, self.correct) != ("correct", "none")]
        return f"{' + '.join(model.name for model in self.models)}: {' › '.join(steps)}"


@dataclass(frozen=True)
class PicturesRequest(Asked):
    """Feature-visualization pictures of some units of one layer, from noise of `seed`.

    settings: of PictureSettings, filled up with its defaults.
    """

    model: ModelRef
    layer: str
    units: tuple[int, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    kind: ClassVar[str] = "pictures"
    VERSION: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not all(isinstance(unit, int) and 0 <= unit < 1_000_000 for unit in self.units):
            raise InvalidRequest(f"Units are whole numbers from 0; got {self.units!r}.")
        settings = read_settings(PictureSettings, self.settings)
        set_fields(self, units=tuple(sorted(set(self.units))), settings=settings_dict(settings))
        if not 1 <= len(self.units) <= MAX_UNITS:
            raise InvalidRequest(f"Pictures are made for 1 to {MAX_UNITS} units at a time; got {len(self.units)}.")
        check_text(self.layer, "A layer's name")
        check_whole(self, "seed")

    @property
    def checkpoints(self) -> tuple[ModelRef, ...]:
        """The one network that is looked into."""
        return (self.model,)

    @property
    def title(self) -> str:
        """What a list of jobs shows."""
        numbers = ", ".join(map(str, self.units[:6])) + (", ..." if len(self.units) > 6 else "")
        return f"Pictures of {self.model.name}, {self.layer}, units {numbers}"


@dataclass(frozen=True)
class TrainRequest(Asked):
    """Train a built-in architecture on a data set; the result becomes a model of whoever asked."""

    architecture: str
    config: dict[str, Any]
    dataset: str
    data_sha256: str
    epochs: int = 5
    seed: int = 0
    name: str = ""
    kind: ClassVar[str] = "train"
    VERSION: ClassVar[int] = 1

    def __post_init__(self) -> None:
        set_fields(self, config=plain_config(self.config))
        check_architecture(self.architecture, self.config)
        check_text(self.name or "-", "A model's name")
        check_data(self.dataset, self.data_sha256, required=True)
        check_fit(self.dataset, self.architecture, self.config)
        check_whole(self, "epochs", "seed")

    @property
    def title(self) -> str:
        """What a list of jobs shows."""
        built = f"{describe(self.architecture, self.config)} on {dataset_label(self.dataset)}, seed {self.seed}"
        return f"Train {self.name or built}"


@dataclass(frozen=True)
class DownloadRequest(Asked):
    """Fetch a data set to the machine that runs the program."""

    dataset: str
    kind: ClassVar[str] = "download"
    VERSION: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.dataset not in FACTS:
            raise InvalidRequest(f"{self.dataset!r} cannot be downloaded; {', '.join(FACTS)} can.")

    @property
    def title(self) -> str:
        """What a list of jobs shows."""
        return f"Download {FACTS[self.dataset].label}"


@dataclass(frozen=True)
class StudyRequest(Asked):
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


Request = MergeRequest | PicturesRequest | StudyRequest | TrainRequest | ZipRequest | DownloadRequest
KINDS: dict[str, type[Request]] = {
    k.kind: k for k in (MergeRequest, PicturesRequest, StudyRequest, TrainRequest, ZipRequest, DownloadRequest)
}


def from_json(text: str) -> Request:
    """The request that `to_json` wrote. Raises InvalidRequest or InvalidSetting saying what is wrong with it."""
    try:
        values = json.loads(text)
        kind = KINDS[values.pop("kind")]
        return kind(**{name: _read(name, value) for name, value in values.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"This is not a request of this version ({error}). Ask again.") from error


def _read(name: str, value: Any) -> Any:
    if name == "models":
        return tuple(ModelRef(**model) for model in value)
    if name == "merge":
        return MergeRequest(**{inner: _read(inner, found) for inner, found in value.items()})
    if name in ("model", "base", "other") and value is not None:
        return ModelRef(**value)
    return tuple(value) if name == "units" else value
