"""Claims of people on images: who brought them, under which name, and whether everybody may use them. torch-free.

Each claim is a file in the folder `owners` of a data set's folder.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from merging.errors import DataUnavailable

DAMAGED = (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError)  # reading a damaged JSON file


@dataclass(frozen=True)
class ImageClaim:
    """One person's claim on a data set.

    Attributes:
        owner: the person.
        label: the name that this person gave the data set.
        shared: whether everybody may use it.
        created: seconds since 1970.
        notes: remarks on this person's files, such as those that were left out; None for the remarks in facts.json.
    """

    owner: str
    label: str
    shared: bool
    created: float
    notes: tuple[str, ...] | None = None


def read_claims(place: Path) -> tuple[ImageClaim, ...]:
    """Return the claims on the data set in the folder `place`, the oldest first.

    Raises DataUnavailable if one of them is damaged, because it is then unknown who may use the images.
    """
    try:
        claims = [_read_claim(file) for file in (place / "owners").glob("*.json")]
    except DAMAGED as error:
        raise DataUnavailable(f"The owners of {place.name} are damaged. Bring these images again.") from error
    return tuple(sorted(claims, key=lambda claim: (claim.created, claim.owner)))


def set_damaged_claims_aside(place: Path) -> None:
    """Rename the damaged claims on the data set in the folder `place`, so that the others can be read."""
    for file in (place / "owners").glob("*.json"):
        try:
            _read_claim(file)
        except DAMAGED:
            file.replace(file.with_suffix(".damaged"))


def _read_claim(file: Path) -> ImageClaim:
    """Read a claim. Raises one of DAMAGED if the file is damaged."""
    claim = ImageClaim(**json.loads(file.read_text("utf-8")))
    kinds = ((claim.owner, str), (claim.label, str), (claim.shared, bool), (claim.created, int | float))
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise TypeError(f"{file.name} holds values of another kind")
    return claim if claim.notes is None else replace(claim, notes=tuple(map(str, claim.notes)))


def write_claim(place: Path, claim: ImageClaim) -> None:
    """Write a claim; its file appears complete or not at all, also on a full disk."""
    file = claim_file(place, claim.owner)
    partial = file.with_suffix(f".{secrets.token_hex(4)}")
    try:
        partial.write_text(json.dumps(asdict(claim)), "utf-8")
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def claim_file(place: Path, owner: str) -> Path:
    """Return the file of a person's claim on the data set in the folder `place`."""
    return place / "owners" / f"{hashlib.sha256(owner.encode()).hexdigest()[:24]}.json"


def rename_owners(folder: Path, renamed: Callable[[str], str]) -> None:
    """Change the owner of every claim in the folder of data sets from `name` to `renamed(name)`.

    Claims with the same owner are not rewritten.
    """
    for file in folder.glob("*/owners/*.json"):
        try:
            claim = _read_claim(file)
        except DAMAGED:
            continue
        name = renamed(claim.owner)
        if name != claim.owner:
            place = file.parents[1]
            write_claim(place, replace(claim, owner=name))
            file.unlink(missing_ok=True)
