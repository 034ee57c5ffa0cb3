"""The images that a job works on: the first so many of each split, and one hash that names them. No torch."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from merging.errors import DataUnavailable
from merging.zoo.datasets.load import ImageSet, Split, available, load

SPLITS: tuple[Split, ...] = ("train", "test")


def load_images(dataset: str, count: int | None) -> dict[str, ImageSet]:
    """Split -> the first `count` images of it (all for None); {} where the data set is unknown to this machine.

    Raises DataUnavailable where a file is damaged.
    """
    if not dataset or available(dataset) is None:
        return {}
    return {split: load(dataset, split, count) for split in SPLITS}


def fingerprint(dataset: str, count: int | None) -> str:
    """The hash of those images, for a request; "" where they are not on this machine. Read once a process."""
    place = available(dataset) if dataset else None
    return _fingerprint(dataset, count, place) if place else ""


def check_fingerprint(images: dict[str, ImageSet], wanted: str) -> None:
    """Raises DataUnavailable where the images are others than those that the request was made for."""
    found = _of(images)
    if found != wanted:
        raise DataUnavailable(
            f"The job is about images {wanted[:12]}, but this machine has {found[:12] or 'none'}. "
            "Ask again, so that the result names the images it is of."
        )


@lru_cache(maxsize=64)
def _fingerprint(dataset: str, count: int | None, place: str) -> str:
    return _of(load_images(dataset, count))


def _of(images: dict[str, ImageSet]) -> str:
    if not images:
        return ""
    return hashlib.sha256("".join(images[split].sha256 for split in SPLITS).encode()).hexdigest()
