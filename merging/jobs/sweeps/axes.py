"""Axes of a sweep: what a value of an axis changes in the trainings and merges. torch-free.

An axis is one of `OWN`, a setting of trainings (`TrainingOptions`), or a setting of methods, such as
"align.restarts".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields
from functools import cache
from typing import Any

from merging.errors import InvalidRequest
from merging.jobs.requests.checks import CONFIG_ITEMS, MAX_WIDTH
from merging.jobs.requests.numbers import WHOLE_NUMBERS
from merging.methods.registry import MOST_MODELS, ROLES, table
from merging.settings import Scalar
from merging.zoo.architectures.names import DEEP, WIDTHS
from merging.zoo.training.options import TrainingOptions

# Widths of architectures whose configuration may leave them out.
USUAL_WIDTHS: dict[str, dict[str, Any]] = {
    "resnet": {"widths": [16, 32, 64]},
    **{f"resnet{depth}": {"width": 16} for depth in (20, 32, 44, 56)},
}
LONGEST = 30  # characters of a value
MOST_VALUES = 32  # per axis
LAMBDA = "lambda"  # the axis whose values share one merge
PART = "part"  # the setting of trainings that a sweep sets itself: each network's part of the split


@dataclass(frozen=True)
class SweepAxis:
    """An axis.

    Attributes:
        key: name of the axis in requests, addresses and on the command line.
        label: title of the figure's axis.
        help: what a value changes.
        kind: int, float or str.
        low, high: bounds of a number, both included.
        choices: the allowed words.
        logarithmic: whether equal ratios of values are equally far apart in figures.
        unit: unit of a number.
        usual: values that a form offers.
    """

    key: str
    label: str
    help: str
    kind: type
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    logarithmic: bool = False
    unit: str = ""
    usual: tuple[Scalar, ...] = ()

    @property
    def title(self) -> str:
        """The label, with the unit if there is one."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def read(self, text: str) -> Scalar:
        """Convert a text to a value of the axis. Raises InvalidRequest if it is none."""
        word = text.strip()
        if len(word) > LONGEST:
            raise InvalidRequest(
                f"{self.label}: {word[:LONGEST]}... is too long. Give numbers or words of a few letters."
            )
        try:
            value: Scalar = word if self.kind is str else self.kind(float(word)) if self.kind is float else int(word)
        except ValueError as error:
            raise InvalidRequest(f"{self.label}: {word!r} is not a {_KINDS[self.kind]}.") from error
        return self.checked(value)

    def checked(self, value: Any) -> Scalar:
        """Return the value, as a float on an axis of floats. Raises InvalidRequest if it is out of bounds."""
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not self.kind:
            raise InvalidRequest(f"{self.label}: {value!r} is not a {_KINDS[self.kind]}.")
        if isinstance(value, str):
            if self.choices and value not in self.choices:
                raise InvalidRequest(f"{self.label}: {value!r} is none of {', '.join(self.choices)}.")
            return value
        number: Any = value
        low, high = (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)
        if not low <= number <= high:
            raise InvalidRequest(f"{self.label}: {number:g} is not between {low:g} and {high:g}.")
        return number  # type: ignore[no-any-return]


_KINDS = {int: "whole number", float: "number", str: "word"}
_EPOCHS, _IMAGES = WHOLE_NUMBERS["epochs"], WHOLE_NUMBERS["images"]
OWN = {
    axis.key: axis
    for axis in (
        SweepAxis(
            "width", "Width of the first hidden layer",
            "The widths of the other hidden layers change in proportion.",
            int, 1, MAX_WIDTH, logarithmic=True, unit="units", usual=(4, 8, 16, 32, 64, 128, 256, 512),
        ),
        SweepAxis(
            "depth", "Hidden layers", "Further layers are as wide as the last one.",
            int, 1, CONFIG_ITEMS, usual=(1, 2, 3, 4, 5),
        ),
        SweepAxis(
            "epoch", "Epochs trained",
            "One training per network, whose weights are merged as they were after each of these epochs.",
            int, 0, _EPOCHS.high, usual=(0, 1, 2, 4, 8),
        ),
        SweepAxis(
            "epochs", "Length of the training",
            "A training of its own for each length, with its whole schedule of the learning rate; with a common start, "
            "the length of the fine-tuning.",
            int, 1, _EPOCHS.high, unit="epochs", usual=(1, 2, 4, 8),
        ),
        SweepAxis(
            "common", "Length of the common start",
            "The networks of a group start from one network that was trained for so many epochs; 0: from different "
            "random weights.",
            int, 0, _EPOCHS.high, unit="epochs", usual=(0, 1, 2, 4, 8),
        ),
        SweepAxis(
            "networks", "Networks merged at once", "The first so many networks of each group are merged.",
            int, 2, MOST_MODELS, usual=(2, 3, 4, 6, 8),
        ),
        SweepAxis(
            "images", "Images of the merge", "Images per split on which methods match units and results are measured.",
            int, _IMAGES.low, _IMAGES.high, logarithmic=True, usual=(100, 300, 1000, 3000),
        ),
        SweepAxis(
            LAMBDA, "λ", "Losses and accuracies at this point of the path from A (0) to B (1). Costs no further merge.",
            float, 0, 1, usual=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        ),
    )
}  # fmt: skip
_LOGARITHMIC = ("lr", "weight_decay", "batch", "alpha", "share")
_USUAL: dict[str, tuple[Scalar, ...]] = {
    "optimiser": ("sgd", "adam", "adamw"),
    "lr": (0.0003, 0.001, 0.003, 0.01),
    "weight_decay": (0.0001, 0.001, 0.01, 0.1),
    "lora": (0, 1, 2, 4, 8),
    "batch": (32, 64, 128, 256, 512),
    "label_noise": (0.0, 0.1, 0.2, 0.4),
    "share": (0.1, 0.3, 1.0),
    "split": ("none", "halves", "80-20", "disjoint"),
    "alpha": (0.1, 0.3, 1.0, 10.0),
    "momentum": (0.0, 0.5, 0.9),
}


@cache
def sweep_axes() -> Mapping[str, SweepAxis]:
    """Key -> axis, all of them: first those of `OWN`, then settings of trainings, then settings of methods."""
    trained = {one.name: _of_setting(one.name, one) for one in fields(TrainingOptions) if one.name != PART}
    methods: dict[str, SweepAxis] = {}
    for role in ROLES:
        for method in table(role).values():
            for one in fields(method.settings):
                key = f"{role}.{one.name}"
                if not isinstance(one.default, bool):
                    methods.setdefault(key, _of_setting(key, one))
    return {**OWN, **trained, **methods}


def _of_setting(key: str, declared: Field[Any]) -> SweepAxis:
    about, kind = declared.metadata, type(declared.default)
    choices, usual = about["choices"], _USUAL.get(key, ())
    default: Any = declared.default
    return SweepAxis(
        key,
        about["label"],
        about["help"],
        kind,
        about["low"] if kind is not str else None,
        about["high"] if kind is not str else None,
        choices,
        key in _LOGARITHMIC,
        about["unit"],
        usual or choices or (default,),
    )


def find_axis(key: str) -> SweepAxis:
    """Return the axis with this key. Raises InvalidRequest, which lists the usual ones, if there is none."""
    known = sweep_axes()
    if key not in known:
        common = ", ".join(name for name in known if "." not in name)
        raise InvalidRequest(
            f"There is no axis {key!r}. Known: {common}; and settings of methods, such as align.restarts."
        )
    return known[key]


def with_width(architecture: str, config: Mapping[str, Any], width: int) -> dict[str, Any]:
    """A configuration whose first hidden layer has this width, and whose others are changed in proportion.

    Raises InvalidRequest for an architecture without widths.
    """
    whole = {**USUAL_WIDTHS.get(architecture, {}), **config}
    sizes = {name: whole[name] for name in WIDTHS if name in whole}
    first = next((_first(value) for value in sizes.values()), 0)
    if not first:
        raise InvalidRequest("This network has fixed widths. Choose another axis, or another network.")

    def scaled(value: Any) -> Any:
        return max(1, round(value * width / first))

    scaled_sizes = {
        name: [scaled(one) for one in value] if isinstance(value, Sequence) else scaled(value)
        for name, value in sizes.items()
    }
    return {**config, **scaled_sizes}


def with_depth(architecture: str, config: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """A configuration with so many hidden layers; further ones are as wide as the last.

    Raises InvalidRequest for an architecture whose list of widths is not one hidden layer per width.
    """
    widths = config.get("widths")
    if architecture not in DEEP or not isinstance(widths, Sequence) or not widths:
        raise InvalidRequest("The depth of this network cannot be changed. Choose an MLP or a plain CNN.")
    return {**config, "widths": [*widths[:depth], *[widths[-1]] * (depth - len(widths))]}


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, Sequence) else value) if value else 0
