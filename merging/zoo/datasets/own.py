"""Storage of users' own images: one folder per data set below MERGESCOPE_HOME/data, named by a hash of its content.

    own-0123456789ab/facts.json            shape, classes, mean, std, counts, hashes
                     {train,test}-images.npy, {train,test}-labels.npy
                     owners/*.json         one claim per owner: owner, label, and whether everybody may use the images

When two people bring the same images, both have a claim on one data set, and each can delete only their own claim. A
new folder appears complete or not at all. torch-free.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from merging.errors import DataUnavailable, InvalidRequest
from merging.paths import home
from merging.zoo.datasets.claims import (
    DAMAGED,
    ImageClaim,
    claim_file,
    read_claims,
    set_damaged_claims_aside,
    write_claim,
)
from merging.zoo.datasets.facts import DatasetFacts
from merging.zoo.datasets.image_set import ImageSet

AGAIN = "is damaged or missing. Bring these images again."
_ID = re.compile(r"own-[0-9a-f]{12}")
_person: ContextVar[str] = ContextVar("person", default="")
_beside: ContextVar[Path | None] = ContextVar("beside", default=None)


@dataclass(frozen=True)
class OwnDataset:
    """A data set of users' own images.

    Attributes:
        id: "own-" and 12 hexadecimal digits.
        facts: shape, classes, mean, std and the like.
        counts: split -> images per class.
        sha256: split -> hash of all its images, equal to `ImageSet.sha256`.
        notes: remarks on images that were changed or left out, one sentence each.
        bytes: size of all decoded images.
        claims: claims of all owners, the oldest first.
    """

    id: str
    facts: DatasetFacts
    counts: dict[str, tuple[int, ...]]
    sha256: dict[str, str]
    notes: tuple[str, ...]
    bytes: int
    claims: tuple[ImageClaim, ...] = ()

    def claim_of(self, owner: str) -> ImageClaim | None:
        """The claim of this owner; None if there is none."""
        return next((claim for claim in self.claims if claim.owner == owner), None)

    def visible(self, owner: str) -> bool:
        """Whether this person may use the images, because the images are theirs or shared, or have no owner."""
        return not self.claims or any(claim.shared or claim.owner == owner for claim in self.claims)


def is_own(name: str) -> bool:
    """Whether the name has the form of an id ("own-" and 12 hexadecimal digits). The images need not exist."""
    return _ID.fullmatch(name) is not None


def folder() -> Path:
    """The folder of all stored data sets."""
    return home() / "data"


@contextmanager
def seen_by(person: str) -> Iterator[None]:
    """Context in which only images that this person may use are found; all images for ""."""
    token = _person.set(person)
    try:
        yield
    finally:
        _person.reset(token)


@contextmanager
def with_folder(extra: Path) -> Iterator[None]:
    """Context in which data sets in the folder `extra` are found like stored ones, for images that are not kept."""
    token = _beside.set(extra)
    try:
        yield
    finally:
        _beside.reset(token)


def find_own(id: str, owner: str = "") -> OwnDataset | None:
    """Return the data set of this id; None if it is not, or no longer, on this machine, or hidden (see `seen_by`).

    Its label and notes are those of the owner's claim, else of the oldest shared claim, else of the oldest claim.
    Raises DataUnavailable when its facts or claims are damaged.
    """
    place = _place(id)
    if place is None:
        return None
    claims, owner = read_claims(place), owner or _person.get()
    first = sorted(claims, key=lambda claim: (claim.owner != owner, not claim.shared, claim.created))
    dataset = read_facts(place, first[0].label if first else "", claims)
    if _person.get() and not dataset.visible(_person.get()):
        return None
    return replace(dataset, notes=first[0].notes) if first and first[0].notes is not None else dataset


def find_intact(id: str, owner: str = "") -> OwnDataset | None:
    """Return what `find_own` does; None also for a data set whose facts or claims are damaged, which is logged."""
    try:
        return find_own(id, owner)
    except DataUnavailable as error:
        logging.getLogger(__name__).warning("%s", error)
        return None


def own_datasets(owner: str) -> tuple[OwnDataset, ...]:
    """All data sets that this person may use, the newest first. Damaged ones are left out and logged."""
    found = (find_intact(path.name, owner) for path in folder().glob("own-*"))
    datasets = [dataset for dataset in found if dataset is not None and dataset.claims and dataset.visible(owner)]
    return tuple(sorted(datasets, key=lambda dataset: (-dataset.claims[0].created, dataset.id)))


def own_images(id: str, split: str, limit: int | None = None) -> ImageSet:
    """Load the first `limit` images of a split (None: all). Raises DataUnavailable if they are missing or damaged."""
    dataset, place = find_own(id), _place(id)
    if dataset is None or place is None:
        raise _gone(id)
    images, labels = (_array(place / f"{split}-{kind}.npy", slice(limit)) for kind in ("images", "labels"))
    facts = dataset.facts
    total = getattr(facts, split)
    if images.shape != (min(total, limit or total), *facts.shape) or labels.shape != images.shape[:1]:
        raise DataUnavailable(f"{facts.label} ({id}): the file of the {split} images {AGAIN}")
    return ImageSet(id, split, images, labels, facts.classes, len(labels) == total, facts)


def sample_images(id: str, count: int, row: int = 1) -> ImageSet:
    """Load at most `count` training images for display, sorted by class, with the same number of each class.

    row: images per displayed row; the number per class is rounded down to whole rows if it exceeds one row.
    """
    place, dataset = _place(id), find_own(id)
    if dataset is None or place is None:
        raise _gone(id)
    labels = _array(place / "train-labels.npy", slice(None))
    classes = dataset.facts.classes
    each = max(1, count // len(classes))
    each -= each % row if each > row else 0
    rows = np.concatenate([np.flatnonzero(labels == number)[:each] for number in range(len(classes))])[:count]
    images = _array(place / "train-images.npy", rows)
    if images.shape[1:] != dataset.facts.shape:
        raise DataUnavailable(f"{dataset.facts.label} ({id}): the file of the training images {AGAIN}")
    return ImageSet(id, "train", images, labels[rows], classes, False, dataset.facts)


def keep_own(place: Path, claim: ImageClaim) -> OwnDataset:
    """Store a data set for the owner of `claim`, by moving the folder `place` that it was read into.

    Files of the same images that are stored already are replaced, since they may be damaged. A second claim of the same
    owner replaces the first. Raises InvalidRequest if different images have this id.
    """
    fresh = read_facts(place, claim.label)
    target = folder() / fresh.id
    existing = find_intact(fresh.id)
    if existing is not None and existing.sha256 != fresh.sha256:
        raise InvalidRequest(
            f"Different images with the id {fresh.id} are stored here. Change one image and bring them again."
        )
    if target.is_dir():
        for file in place.glob("*.npy"):
            file.replace(target / file.name)
        if existing is None:
            set_damaged_claims_aside(target)
            (place / "facts.json").replace(target / "facts.json")
    else:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _claim(place, replace(claim, notes=fresh.notes))  # before the move: images without a claim belong to everybody
        place.replace(target)
    _claim(target, replace(claim, notes=fresh.notes))
    return replace(fresh, claims=read_claims(target))


def share_own(id: str, owner: str, shared: bool) -> None:
    """Share the images with everybody, or make them private. Raises InvalidRequest if `owner` has no claim on them."""
    place, claim = _owned(id, owner)
    write_claim(place, replace(claim, shared=shared))


def remove_own(id: str, owner: str) -> None:
    """Delete the owner's claim, and with the last claim the images. Raises InvalidRequest if there is no claim."""
    place, _ = _owned(id, owner)
    if any(claim.owner != owner for claim in read_claims(place)):
        claim_file(place, owner).unlink()
        return
    gone = place.with_name(f".{place.name}-{time.time_ns()}")
    place.rename(gone)  # one step: no half-deleted data set is ever seen, and none without a claim
    shutil.rmtree(gone, ignore_errors=True)


def read_facts(place: Path, label: str = "", claims: Sequence[ImageClaim] = ()) -> OwnDataset:
    """Read facts.json in a data set's folder. label: replaces the label in the file, unless it is "".

    Raises DataUnavailable when the file is damaged.
    """
    try:
        raw: dict[str, Any] = json.loads((place / "facts.json").read_text("utf-8"))
        counts = {split: tuple(map(int, raw["counts"][split])) for split in ("train", "test")}
        channels, height, width = map(int, raw["shape"])
        texts = (raw["id"], raw["label"], *raw["classes"], *raw["notes"], *dict(raw["sha256"]).values())
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a number where a text belongs")
        facts = DatasetFacts(
            label=label or raw["label"],
            shape=(channels, height, width),
            classes=tuple(raw["classes"]),
            mean=tuple(map(float, raw["mean"])),
            std=tuple(map(float, raw["std"])),
            train=sum(counts["train"]),
            test=sum(counts["test"]),
            folder=raw["id"],
            licence="not known",
            source="images of a user",
        )
        return OwnDataset(
            raw["id"], facts, counts, dict(raw["sha256"]), tuple(raw["notes"]), int(raw["bytes"]), tuple(claims)
        )
    except DAMAGED as error:
        raise DataUnavailable(f"The facts of {place.name} are damaged. Bring these images again.") from error


def _claim(place: Path, claim: ImageClaim) -> None:
    (place / "owners").mkdir(exist_ok=True)
    write_claim(place, claim)


def _place(id: str) -> Path | None:
    if not is_own(id):
        return None
    extra = _beside.get()
    places = [folder() / id, *([extra / id] if extra is not None else [])]
    return next((place for place in places if (place / "facts.json").is_file()), None)


def _owned(id: str, owner: str) -> tuple[Path, ImageClaim]:
    dataset, place = find_own(id, owner), _place(id)
    claim = dataset.claim_of(owner) if dataset is not None else None
    if place is None or claim is None:
        raise InvalidRequest(f"You have no images with the id {id}.")
    return place, claim


def _array(path: Path, rows: slice | np.ndarray) -> np.ndarray:
    """Load these rows of an array file as a copy, so that the file does not stay open."""
    try:
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[rows])
    except (OSError, ValueError, EOFError, IndexError) as error:
        raise DataUnavailable(f"{path.parent.name}: the file {path.name} {AGAIN}") from error


def _gone(id: str) -> DataUnavailable:
    return DataUnavailable(f"The images {id} were deleted, or are on another machine. Bring them again.")
