"""What is to be read, before any image is decoded: where each image comes from, its class, its split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from PIL import Image

from merging.errors import DataUnavailable
from merging.zoo.checkpoints.metadata import clean_name
from merging.zoo.datasets.reading.limits import HOW, MAX_CLASSES

SHOWN = 5  # names in one message


@dataclass(frozen=True)
class Picture:
    """One image. name: for messages.  label: the number of its class.  split: "train", "test", or "" where the source
    names none.  open: gives the image, not yet decoded."""

    name: str
    label: int
    split: str
    open: Callable[[], Image.Image]


@dataclass(frozen=True)
class Gathered:
    """All images of a source. classes: their names.  notes: what a person should know of them, a sentence each."""

    pictures: tuple[Picture, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - SHOWN:,} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def class_names(raw: Sequence[str]) -> tuple[str, ...]:
    """Class names that can be shown: printable, one line, no two alike. Raises DataUnavailable."""
    if len(raw) > MAX_CLASSES:
        raise DataUnavailable(f"There are {len(raw):,} classes; {MAX_CLASSES:,} are the most. {HOW}")
    if len(raw) < 2:
        named = f", {clean_name(raw[0])}" if raw else ""
        raise DataUnavailable(f"There is only one class{named}: nothing to tell apart. {HOW}")
    names = [clean_name(name) for name in raw]
    nameless = [number for number, name in enumerate(names) if not name]
    if nameless:
        raise DataUnavailable(f"The name of class {nameless[0]} holds no printable letter. Give it another name.")
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if first.setdefault(name, number) != number:
            raise DataUnavailable(f"Classes {first[name]} and {number} are both called {name}. Rename one of them.")
    return tuple(names)


def check_classes(gathered: Gathered) -> None:
    """Raises DataUnavailable where a class has no image to learn from."""
    seen = {picture.label for picture in gathered.pictures if picture.split != "test"}
    empty = [name for number, name in enumerate(gathered.classes) if number not in seen]
    if empty:
        raise DataUnavailable(
            f"No training image is of the class{'es' if len(empty) > 1 else ''} {listed(empty)}. Add images, or leave "
            "the class out. Labels count from 0."
        )
