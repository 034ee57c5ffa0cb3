"""The images of a source before any of them is decoded: origin, class and split of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from PIL import Image

from merging.errors import DataUnavailable
from merging.zoo.checkpoints.metadata import clean_name
from merging.zoo.datasets.reading.limits import HOW, MAX_CLASSES

SHOWN = 5  # names per message


@dataclass(frozen=True)
class Picture:
    """One image of a source.

    Attributes:
        name: name of the image in messages.
        label: the number of its class.
        split: "train", "test", or "" if the source has no splits.
        open: function that returns the image, not yet decoded.
    """

    name: str
    label: int
    split: str
    open: Callable[[], Image.Image]


@dataclass(frozen=True)
class Gathered:
    """All images of a source.

    Attributes:
        pictures: one per image.
        classes: the names of the classes, by number.
        notes: remarks for the user, one sentence each.
    """

    pictures: tuple[Picture, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def listed_names(names: Iterable[str]) -> str:
    """The first SHOWN names, and the number of further ones."""
    every = list(names)
    more = f" and {len(every) - SHOWN:,} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def class_names(raw: Sequence[str]) -> tuple[str, ...]:
    """Clean class names for display. Raises DataUnavailable for too many or too few, empty or duplicate names."""
    if len(raw) > MAX_CLASSES:
        raise DataUnavailable(f"There are {len(raw):,} classes; at most {MAX_CLASSES:,} are allowed. {HOW}")
    if len(raw) < 2:
        named = f", {clean_name(raw[0])}" if raw else ""
        raise DataUnavailable(f"There is only one class{named}, but at least two are needed. {HOW}")
    names = [clean_name(name) for name in raw]
    nameless = [number for number, name in enumerate(names) if not name]
    if nameless:
        raise DataUnavailable(f"The name of class {nameless[0]} has no printable characters. Give it another name.")
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if first.setdefault(name, number) != number:
            raise DataUnavailable(f"Classes {first[name]} and {number} are both called {name}. Rename one of them.")
    return tuple(names)


def check_classes(gathered: Gathered) -> None:
    """Raise DataUnavailable if a class has no training image."""
    labels = {picture.label for picture in gathered.pictures if picture.split != "test"}
    empty = [name for number, name in enumerate(gathered.classes) if number not in labels]
    if empty:
        raise DataUnavailable(
            f"There are no training images of the class{'es' if len(empty) > 1 else ''} {listed_names(empty)}. "
            "Add images, or leave the class out. Labels count from 0."
        )
