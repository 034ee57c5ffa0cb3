"""Images that users bring ("own images"): stored within caps, deleted by their owner unless an open job needs them.

Data sets are added and deleted inside transactions of the ledger, so only one process at a time changes them.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merging.errors import InvalidRequest
from merging.jobs.ledger.connection import connect, transaction
from merging.jobs.ledger.models import check_unneeded
from merging.jobs.privacy import hide, show
from merging.zoo.checkpoints.metadata import clean_name
from merging.zoo.datasets import own
from merging.zoo.datasets.claims import ImageClaim
from merging.zoo.datasets.convert import convert_images
from merging.zoo.datasets.facts import FACTS
from merging.zoo.datasets.known import may_use
from merging.zoo.datasets.own import OwnDataset, is_own
from merging.zoo.datasets.reading.limits import MAX_DECODED
from merging.zoo.disposable import Waiting, in_silence

if TYPE_CHECKING:
    from merging.jobs.ledger.folder import LedgerFolder
    from merging.jobs.requests.base import Request

LABEL = 60  # largest number of characters of a name
SCRATCH = ".reading-"  # prefix of temporary folders
STALE = 24 * 3600.0  # seconds after which temporary folders left by a killed process are deleted


def check_images_known(request: Request, owner: str) -> None:
    """Raise InvalidRequest if the request uses own images that were deleted or are not shared with this owner."""
    dataset, data_sha256, _ = request.data
    if (data_sha256 or request.needs_images) and is_own(dataset) and not may_use(dataset, owner):
        raise InvalidRequest(
            f"The images {dataset} were deleted, or belong to someone who does not share them. Upload the images "
            "again on Models, or choose other networks."
        )


def add_images(
    ledger: LedgerFolder,
    source: Path,
    owner: str,
    *,
    label: str = "",
    shared: bool = False,
    size: tuple[int, int] | None = None,
    colour: str = "auto",
    waiting: Waiting = in_silence,
) -> OwnDataset:
    """Read images and store them as a data set.

    Args:
        ledger: the ledger.
        source: file or folder with the images.
        owner: who adds them.
        label: name of the data set, by default the source's name.
        shared: whether others may use it.
        size, colour, waiting: as in `convert_images`.
    Raises:
        InvalidRequest: the owner's caps are reached, or the label is invalid or already used.
        DataUnavailable, InvalidSetting: as in `convert_images`.
    """
    name = _label(label or source.stem)
    _check_caps(ledger, owner, name, 0)
    with _scratch() as scratch:
        most = min(MAX_DECODED, int(_room(ledger, owner)))
        turn: dict[str, Any] = {"waiting": waiting, "person": owner}
        converted = convert_images(source, scratch, label=name, size=size, colour=colour, most=most, **turn)
        with connect(ledger.file) as db, transaction(db):
            existing = own.find_intact(converted.id, owner)
            if existing is None or existing.claim_of(owner) is None:
                _check_caps(ledger, owner, name, converted.bytes)
            kept = own.keep_own(scratch / converted.id, ImageClaim(owner, name, shared, time.time()))
            if shared:
                show(db, ledger.shipped)
            else:
                claim = existing.claim_of(owner) if existing is not None else None
                hide(db, ledger.shipped, kept.id, "" if claim is not None and claim.shared else owner)
            return kept


def share_images(ledger: LedgerFolder, id: str, owner: str, shared: bool) -> None:
    """Share this owner's data set with everybody, or make it and what was made with it private again.

    Raises InvalidRequest if it is not this owner's.
    """
    with connect(ledger.file) as db, transaction(db):
        own.share_own(id, owner, shared)
        if shared:
            show(db, ledger.shipped)
        else:
            hide(db, ledger.shipped, id)


def delete_images(ledger: LedgerFolder, id: str, owner: str) -> None:
    """Delete this owner's data set. Raises InvalidRequest if it is not this owner's, or an open job needs it."""
    with connect(ledger.file) as db, transaction(db):
        dataset = own.find_own(id, owner)
        last = dataset is not None and len(dataset.claims) == 1
        if last and dataset is not None and dataset.claim_of(owner) is not None:
            check_unneeded(db, id, owner, "these images")
        own.remove_own(id, owner)


def _label(text: str) -> str:
    """Clean a data set's name for menus. Raises InvalidRequest if it is empty, too long or a built-in name."""
    name = clean_name(text)
    reserved = {*FACTS, *(facts.label.lower() for facts in FACTS.values())}
    if not 1 <= len(name) <= LABEL or name.lower() in reserved or is_own(name.lower()):
        raise InvalidRequest(
            f"The name of a data set needs 1 to {LABEL} characters and must differ from built-in names; got {name!r}."
        )
    return name


def _mine(owner: str) -> list[OwnDataset]:
    return [dataset for dataset in own.own_datasets(owner) if dataset.claim_of(owner) is not None]


def _room(ledger: LedgerFolder, owner: str) -> float:
    """Bytes of images that this owner may still add."""
    free = ledger.limits.images_mb * 1e6 - sum(dataset.bytes for dataset in _mine(owner))
    places = own.folder().glob("own-*/*.npy")
    free_of_all = ledger.limits.all_images_mb * 1e6 - sum(path.stat().st_size for path in places)
    return max(0.0, min(free, free_of_all))


def _check_caps(ledger: LedgerFolder, owner: str, name: str, size: int) -> None:
    limits, mine = ledger.limits, _mine(owner)
    if len(mine) >= limits.data_sets:
        raise InvalidRequest(f"You have {len(mine)} data sets, the limit per person. Delete one first.")
    twin = next((d for d in mine if (claim := d.claim_of(owner)) is not None and claim.label == name), None)
    if twin is not None:
        raise InvalidRequest(
            f"You already have a data set called {name} ({twin.id}). Choose another name, or delete it first."
        )
    room = _room(ledger, owner)
    if size > room:
        raise InvalidRequest(
            f"These images need {size / 1e6:,.0f} MB, and you have {room / 1e6:,.0f} MB left. Delete a data set, or "
            "upload smaller images."
        )


@contextmanager
def _scratch() -> Iterator[Path]:
    """Temporary folder beside the data sets, so that a finished data set is moved there and not copied."""

    place = own.folder()
    place.mkdir(parents=True, exist_ok=True, mode=0o700)  # readable by this user alone
    for old in place.glob(f"{SCRATCH}*"):
        if time.time() - old.stat().st_mtime > STALE:
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=place, ignore_cleanup_errors=True) as scratch:
        yield Path(scratch)
