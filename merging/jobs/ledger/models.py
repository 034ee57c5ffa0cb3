"""People's own models: uploaded or trained, used by everybody, deleted by their owner."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from merging.errors import InvalidRequest, MergescopeError
from merging.jobs.ledger.connection import connect
from merging.jobs.ledger.files import Filing, filing
from merging.jobs.ledger.owners import as_table
from merging.jobs.ledger.store import sha256_of
from merging.zoo.catalogue import Entry, shipped_file

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from merging.jobs.ledger.folder import LedgerFolder
    from merging.jobs.requests.base import Request

log = logging.getLogger(__name__)


def models(ledger: LedgerFolder, owner: str | None) -> tuple[Entry, ...]:
    """All entries, or those of one owner, the newest first."""
    chosen = "SELECT entry FROM models WHERE owner = ? OR ? IS NULL ORDER BY created DESC, id"
    with connect(ledger.file) as db:
        found = (_entry(row["entry"]) for row in db.execute(chosen, (owner, owner)))
        return tuple(entry for entry in found if entry is not None)


def add(ledger: LedgerFolder, entry: Entry, data: bytes, owner: str) -> Entry:
    """Keep bytes and entry; the same content twice is one model. The oldest finished runs make room for it.

    Raises InvalidRequest beyond the owner's caps, and where the store is full of models and open jobs.
    """
    with filing(ledger.file, ledger.store) as files:
        return insert(ledger, files, entry, data, owner)


def insert(ledger: LedgerFolder, files: Filing, entry: Entry, data: bytes, owner: str) -> Entry:
    """`add` within a transaction that is open already."""
    db = files.db
    sha256 = hashlib.sha256(data).hexdigest()
    id = _free_id(db, sha256, owner)
    kept = replace(entry, id=id, sha256=sha256, bytes=len(data), owner=owner, created=time.time())
    _check_caps(ledger, db, kept)
    files.make_room({sha256: len(data)})
    files.put(data, sha256)
    values = (id, sha256, owner, kept.created, len(data), json.dumps(asdict(kept), ensure_ascii=False))
    db.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, ?, ?)", values)
    return kept


def delete(ledger: LedgerFolder, id: str, owner: str) -> None:
    """Remove one's own model. Raises InvalidRequest where it is not theirs or an open job needs it."""
    with filing(ledger.file, ledger.store) as files:
        db = files.db
        row = db.execute("SELECT sha256 FROM models WHERE id = ? AND owner = ?", (id, owner)).fetchone()
        if row is None:
            raise InvalidRequest(f"There is no model {id} of yours.")
        needed = "SELECT title FROM jobs WHERE state IN ('queued', 'running') AND instr(request, ?)"
        job = db.execute(needed, (row["sha256"],)).fetchone()
        if job is not None:
            raise InvalidRequest(
                f"An open job needs this model: {job['title']}. Wait until it has ended, or cancel it if it is yours."
            )
        db.execute("DELETE FROM models WHERE id = ?", (id,))
        files.give_up([row["sha256"]])


def checkpoint(ledger: LedgerFolder, sha256: str) -> bytes:
    """The safetensors bytes of that content. Raises InvalidRequest where unknown, MergescopeError if damaged."""
    shipped = shipped_file(sha256)
    if shipped is not None:
        data = shipped.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise MergescopeError(f"The shipped checkpoint {shipped.name} is damaged. Install the program again.")
        return data
    if ledger.store.has(sha256):
        return ledger.store.get(sha256)
    example = ledger.shipped.content(sha256)
    if example is None:
        raise _unknown(sha256)
    return example


def checkpoint_file(ledger: LedgerFolder, sha256: str) -> Path | None:
    """The file of that content, None where it has none of its own. Raises MergescopeError where it is damaged."""
    path = shipped_file(sha256) or (ledger.store.path(sha256) if ledger.store.has(sha256) else None)
    if path is not None and sha256_of(path) != sha256:
        raise MergescopeError(f"The stored file {sha256[:12]} is damaged. Bring the network again.")
    return path


def check_known(ledger: LedgerFolder, request: Request) -> None:
    """Raises InvalidRequest where a model that the request reads is not on this machine."""
    for model in request.checkpoints:
        sha256 = model.sha256
        if shipped_file(sha256) is None and not ledger.store.has(sha256) and ledger.shipped.content(sha256) is None:
            raise _unknown(sha256, model.name)


def listed(db: sqlite3.Connection, sha256: str) -> bool:
    """Whether somebody has a model of that content."""
    return db.execute("SELECT 1 FROM models WHERE sha256 = ? LIMIT 1", (sha256,)).fetchone() is not None


def _free_id(db: sqlite3.Connection, sha256: str, owner: str) -> str:
    """By content, and by owner too where somebody else has the same content: each deletes only their own."""
    id = f"u-{sha256[:12]}"
    taken = db.execute(
        "SELECT 1 FROM models WHERE id = ? AND (owner != ? OR sha256 != ?)", (id, owner, sha256)
    ).fetchone()
    return f"u-{hashlib.sha256(f'{sha256} {owner}'.encode()).hexdigest()[:12]}" if taken else id


def _unknown(sha256: str, name: str = "") -> InvalidRequest:
    called = f"{name!r} ({sha256[:12]})" if name else sha256[:12]
    return InvalidRequest(
        f"The weights of {called} are not here (any more). Upload or train the model, or run the merge again."
    )


def _entry(text: str) -> Entry | None:
    """The entry of a row; None for one that cannot be read, which hides no other."""
    values = as_table(text)
    try:
        return Entry(**values | {name: tuple(values[name]) for name in ("classes", "mean", "std")})
    except (TypeError, KeyError):
        log.warning("a model cannot be read from the ledger and is left out")
        return None


def _check_caps(ledger: LedgerFolder, db: sqlite3.Connection, entry: Entry) -> None:
    limits = ledger.limits
    if entry.bytes > limits.model_mb * 1e6:
        raise InvalidRequest(f"The model has {entry.bytes / 1e6:,.0f} MB; one may have {limits.model_mb:,.0f} MB here.")
    check_room(ledger, db, entry.owner, entry.bytes, entry.id)


def check_room(ledger: LedgerFolder, db: sqlite3.Connection, owner: str, added: int, id: str = "") -> None:
    """Raises InvalidRequest where the owner may not have another model of `added` bytes, in the place of model `id`."""
    limits = ledger.limits
    counted = "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM models WHERE owner = ? AND id != ?"
    number, size = db.execute(counted, (owner, id)).fetchone()
    if number >= limits.models:
        raise InvalidRequest(f"You have {number} models, the most one may have here. Delete one first.")
    if size + added > limits.owner_mb * 1e6:
        raise InvalidRequest(
            f"Your models would fill {(size + added) / 1e6:,.0f} MB of {limits.owner_mb:,.0f}. Delete one first."
        )
