"""The images that a job works on: the first `count` of each split, and one hash that identifies them. torch-free."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from merging.errors import DataUnavailable
from merging.zoo.datasets.image_set import SPLITS, ImageSet
from merging.zoo.datasets.load import available, load_split
from merging.zoo.datasets.own import find_own


def load_splits(dataset: str, count: int | None) -> dict[str, ImageSet]:
    """Load the first `count` images of each split (all for None): split -> images. {} if it is not on this machine.

    Raises DataUnavailable when a file is damaged.
    """
    if not dataset or available(dataset) is None:
        return {}
    return {split: load_split(dataset, split, count) for split in SPLITS}


def fingerprint(dataset: str, count: int | None) -> str:
    """The hash of the images that `load_splits` returns; "" if they are not on this machine. Cached per process."""
    place = available(dataset) if dataset else None
    return _fingerprint(dataset, count, place) if place else ""


def check_fingerprint(images: dict[str, ImageSet], wanted: str) -> None:
    """Raise DataUnavailable if the images differ from those that the request was made for (hash `wanted`)."""
    actual = _of(images)
    if actual != wanted:
        raise DataUnavailable(
            f"The job was requested for the images {wanted[:12]}, but this machine has {actual[:12] or 'none'}. "
            "Request it again, so that the result names the images that it was computed on."
        )


@lru_cache(maxsize=64)
def _fingerprint(dataset: str, count: int | None, place: str) -> str:
    own = find_own(dataset)
    if own is not None and (count is None or count >= max(own.facts.train, own.facts.test)):
        return _joined(own.sha256)  # the hash of a whole split is stored, so no image is read
    return _of(load_splits(dataset, count))


def _of(images: dict[str, ImageSet]) -> str:
    return _joined({split: images[split].sha256 for split in SPLITS}) if images else ""


def _joined(sha256: dict[str, str]) -> str:
    return hashlib.sha256("".join(sha256[split] for split in SPLITS).encode()).hexdigest()
