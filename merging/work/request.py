"""What can be asked for: four frozen, validated requests whose id is the hash of what they ask. No torch.

The same question has the same id in every process and on every machine, whatever the order of its dicts and however
its models are called. VERSION of a kind is raised by hand when the meaning of its results changes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from merging.errors import InvalidRequest, InvalidSetting
from merging.methods import ROLES, find
from merging.settings import read_settings, settings_dict
from merging.work.request_checks import (
    TEXT,
    channel_numbers,
    check_architecture,
    check_data,
    check_fit,
    check_sha256,
    check_text,
    check_whole,
    plain_config,
    set_fields,
)
from merging.zoo.architectures.names import describe
from merging.zoo.dataset_facts import FACTS

if TYPE_CHECKING:
    from merging.zoo.catalogue import Entry

MAX_UNITS = 16


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
class _Request:
    kind: ClassVar[str]
    VERSION: ClassVar[int]

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


@dataclass(frozen=True)
class MergeRequest(_Request):
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
        check_fit(self.dataset, a.config)
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
        a = self.models[0]
        for b in self.checkpoints[1:]:
            if (a.architecture, a.config) != (b.architecture, b.config):
                raise InvalidRequest(
                    f"{a.name} is {a.label} and {b.name} is {b.label}; only networks of one structure can be merged."
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
    def checkpoints(self) -> tuple[ModelRef, ...]:
        """A, B ..., and the base behind them."""
        return self.models if self.base is None else (*self.models, self.base)

    @property
    def title(self) -> str:
        """What a list of jobs shows."""
        steps = [self.align, self.combine, *([self.correct] if self.correct != "none" else [])]
        return f"{' + '.join(model.name for model in self.models)}: {' · '.join(steps)}"


@dataclass(frozen=True)
class PicturesRequest(_Request):
    """Feature-visualization pictures of some units of one layer: `steps` optimisation steps from noise of `seed`."""

    model: ModelRef
    layer: str
    units: tuple[int, ...]
    steps: int = 256
    seed: int = 0
    kind: ClassVar[str] = "pictures"
    VERSION: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not all(isinstance(unit, int) and 0 <= unit < 1_000_000 for unit in self.units):
            raise InvalidRequest(f"Units are whole numbers from 0; got {self.units!r}.")
        set_fields(self, units=tuple(sorted(set(self.units))))
        if not 1 <= len(self.units) <= MAX_UNITS:
            raise InvalidRequest(f"Pictures are made for 1 to {MAX_UNITS} units at a time; got {len(self.units)}.")
        check_text(self.layer, "A layer's name")
        check_whole(self, "steps", "seed")

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
class TrainRequest(_Request):
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
        check_fit(self.dataset, self.config)
        check_whole(self, "epochs", "seed")

    @property
    def title(self) -> str:
        """What a list of jobs shows."""
        what = self.name or describe(self.architecture, self.config)
        return f"Train {what} on {FACTS[self.dataset].label}, seed {self.seed}"


@dataclass(frozen=True)
class DownloadRequest(_Request):
    """Fetch a data set to the machine that runs the program."""

    dataset: str
    kind: ClassVar[str] = "download"
    VERSION: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_data(self.dataset, "", required=True)

    @property
    def title(self) -> str:
        """What a list of jobs shows."""
        return f"Download {FACTS[self.dataset].label}"


Request = MergeRequest | PicturesRequest | TrainRequest | DownloadRequest
KINDS: dict[str, type[Request]] = {k.kind: k for k in (MergeRequest, PicturesRequest, TrainRequest, DownloadRequest)}


def from_json(text: str) -> Request:
    """The request that `to_json` wrote. Raises InvalidRequest or InvalidSetting saying what is wrong with it."""
    try:
        values = json.loads(text)
        kind = KINDS[values.pop("kind")]
        return kind(**{name: _read(name, value) for name, value in values.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"This is not a request of this version ({error}). Ask again.") from error


def canonical(request: _Request) -> str:
    """The request as one JSON text that is equal for equal questions: sorted keys, models without their names."""
    values = asdict(request)
    for model in (*values.get("models", ()), values.get("model"), values.get("base")):
        if model:
            model.pop("name")
    return json.dumps(
        {"kind": request.kind, "version": request.VERSION, **values}, sort_keys=True, separators=(",", ":")
    )


def _read(name: str, value: Any) -> Any:
    if name == "models":
        return tuple(ModelRef(**model) for model in value)
    if name in ("model", "base") and value is not None:
        return ModelRef(**value)
    return tuple(value) if name == "units" else value
