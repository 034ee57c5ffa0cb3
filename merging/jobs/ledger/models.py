"""Models that users uploaded or trained: stored within caps, deleted by their owner."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from merging.errors import InvalidRequest, MergescopeError
from merging.jobs.ledger.connection import connect
from merging.jobs.ledger.files import Filing, filing
from merging.jobs.ledger.owners import as_table
from merging.jobs.ledger.store import sha256_of
from merging.jobs.privacy import Access, hide, show
from merging.jobs.requests.registry import from_json, nameless, with_names
from merging.jobs.requests.sweep import SWEEP
from merging.zoo.catalogue import Entry, shipped, shipped_file

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from merging.jobs.ledger.folder import LedgerFolder
    from merging.jobs.requests.base import Request

log = logging.getLogger(__name__)


def models(ledger: LedgerFolder, owner: str | None) -> tuple[Entry, ...]:
    """Catalogue entries of one owner's models (None: of all owners), newest first."""
    query = "SELECT entry FROM models WHERE owner = ? OR ? IS NULL ORDER BY created DESC, id"
    with connect(ledger.file) as db:
        all_entries = (_entry(row["entry"]) for row in db.execute(query, (owner, owner)))
        return tuple(entry for entry in all_entries if entry is not None)


def add(ledger: LedgerFolder, entry: Entry, data: bytes, owner: str, address: str = "") -> Entry:
    """Store a model; an owner's second model with the same content replaces the first.

    The oldest finished runs are deleted if the store has no room. Raises InvalidRequest if a cap of the owner, of the
    network address or of all owners is reached, or models and open jobs alone fill the store.
    """
    with filing(ledger.file, ledger.store) as files:
        return insert(ledger, files, entry, data, owner, address)


def insert(ledger: LedgerFolder, files: Filing, entry: Entry, data: bytes, owner: str, address: str = "") -> Entry:
    """Do the work of `add` inside an open transaction."""
    db = files.db
    sha256 = hashlib.sha256(data).hexdigest()
    id = _id_of(db, sha256, owner)
    owned = replace(entry, id=id, sha256=sha256, bytes=len(data), owner=owner, created=time.time())
    _check_caps(ledger, db, owned, address)
    files.make_room({sha256: len(data)})
    files.put(data, sha256)
    values = (id, sha256, owner, owned.created, len(data), json.dumps(asdict(owned), ensure_ascii=False), address)
    before = db.execute("SELECT entry FROM models WHERE id = ?", (id,)).fetchone()
    db.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    if not owned.private:
        show(db, ledger.shipped)
    else:
        was_shared = before is not None and not as_table(before["entry"]).get("private", True)
        hide(db, ledger.shipped, sha256, "" if was_shared else owner)
    return owned


def list_trained(ledger: LedgerFolder, files: Filing, entry: Entry, data: bytes, job: str) -> None:
    """List a trained model for all people who requested the training `job` itself and have room for it.

    The others have the finished job, and get the model by asking for the training again. Networks of sweeps are not
    listed, because they would fill people's lists.
    """
    query = "SELECT owner, address FROM owners WHERE job = ? AND NOT instr(batch, ?)"
    for owner, address in files.db.execute(query, (job, SWEEP)).fetchall():
        with suppress(InvalidRequest):
            insert(ledger, files, entry, data, owner, address)


def check_room_for_training(ledger: LedgerFolder, db: sqlite3.Connection, job: str, owner: str, address: str) -> None:
    """Raise InvalidRequest if the owner has no room for another trained model, beside those that are being trained."""
    check_room(ledger, db, owner, 0, address=address)  # not only after hours of training
    models = db.execute("SELECT COUNT(*) FROM models WHERE owner = ?", (owner,)).fetchone()[0]
    query = (
        "SELECT COUNT(*) FROM jobs JOIN owners ON job = id WHERE kind = 'train' AND state IN ('queued', 'running')"
        " AND owners.owner = ? AND id != ? AND NOT instr(batch, ?)"
    )
    trainings = db.execute(query, (owner, job, SWEEP)).fetchone()[0]
    if models + trainings >= ledger.limits.models:
        raise InvalidRequest(
            f"The limit per person is {ledger.limits.models} models: you have {models}, and trainings for {trainings} "
            "more are under way. Delete a model, or cancel a training."
        )


def delete(ledger: LedgerFolder, id: str, owner: str) -> None:
    """Delete the owner's model. Raises InvalidRequest if it belongs to someone else, or an open job needs it."""
    with filing(ledger.file, ledger.store) as files:
        db = files.db
        row = db.execute("SELECT sha256 FROM models WHERE id = ? AND owner = ?", (id, owner)).fetchone()
        if row is None:
            raise InvalidRequest(f"You have no model {id}. Reload the page to see your models.")
        sha256 = row["sha256"]
        if db.execute("SELECT 1 FROM models WHERE sha256 = ? AND id != ?", (sha256, id)).fetchone() is None:
            check_unneeded(db, sha256, owner, "this model")
        db.execute("DELETE FROM models WHERE id = ?", (id,))
        files.give_up([sha256])


def check_unneeded(db: sqlite3.Connection, part: str, owner: str, what: str) -> None:
    """Raise InvalidRequest if an open job's request contains `part`. Jobs that the owner may not see are not named."""
    needing = (
        "SELECT id, private, jobs.title, owners.title AS own_title FROM jobs LEFT JOIN owners ON job = id"
        " AND owners.owner = ? WHERE state IN ('queued', 'running') AND instr(request, ?)"
    )
    jobs = db.execute(needing, (owner, part)).fetchall()
    if not jobs:
        return
    titles = (row["own_title"] or (None if row["private"] else row["title"]) for row in jobs)
    known = next((f": {title}" for title in titles if title), ", started by someone else")
    raise InvalidRequest(f"An open job needs {what}{known}. Wait until it ends, or cancel it if it is yours.")


def checkpoint(ledger: LedgerFolder, sha256: str) -> bytes:
    """Safetensors bytes with this hash. Raises InvalidRequest if it is unknown, MergescopeError if it is damaged."""
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
    """Path of the file with this hash, None if there is no such file. Raises MergescopeError if it is damaged."""
    path = shipped_file(sha256) or (ledger.store.path(sha256) if ledger.store.has(sha256) else None)
    if path is not None and sha256_of(path) != sha256:
        raise MergescopeError(f"The stored file {sha256[:12]} is damaged. Upload the network again.")
    return path


def check_models_usable(ledger: LedgerFolder, request: Request, owner: str) -> None:
    """Raise InvalidRequest if a model of the request is not on this machine, or this owner may not use it."""
    with connect(ledger.file) as db:
        access = Access(db, ledger.shipped, owner)
        for model in request.checkpoints:
            sha256 = model.sha256
            if shipped_file(sha256) is None and not ledger.store.has(sha256) and ledger.shipped.content(sha256) is None:
                raise _unknown(sha256, model.name)
            if not access.may_use(sha256):
                raise InvalidRequest(
                    f"The network {model.name!r} is private to the person who uploaded it: no one else can start work "
                    "on it. Ask that person to share it on the page Models, or to start this."
                )


def public_title(db: sqlite3.Connection, request: Request) -> str:
    """Title of a request in lists of others, with the names of networks that everybody sees."""
    hashes = {model.sha256 for model in request.checkpoints}
    names = {entry.sha256: entry.name for entry in shipped() if entry.sha256 in hashes}
    for sha256 in hashes - names.keys():
        rows = db.execute("SELECT entry FROM models WHERE sha256 = ? ORDER BY created", (sha256,))
        entries = (_entry(row["entry"]) for row in rows)
        public = next((entry.name for entry in entries if entry is not None and not entry.private), None)
        names[sha256] = public or nameless(sha256)
    return from_json(json.dumps(with_names(json.loads(request.to_json()), names))).title


def listed(db: sqlite3.Connection, sha256: str, owner: str) -> bool:
    """Whether this owner has a model with this content."""
    row = db.execute("SELECT 1 FROM models WHERE sha256 = ? AND owner = ? LIMIT 1", (sha256, owner)).fetchone()
    return row is not None


def _id_of(db: sqlite3.Connection, sha256: str, owner: str) -> str:
    """Id derived from content and owner, so that it does not tell whether others have this content.

    An entry that the owner already has keeps its id.
    """
    row = db.execute("SELECT id FROM models WHERE owner = ? AND sha256 = ?", (owner, sha256)).fetchone()
    return row["id"] if row else f"u-{hashlib.sha256(f'{sha256} {owner}'.encode()).hexdigest()[:12]}"


def _unknown(sha256: str, name: str = "") -> InvalidRequest:
    called = f"{name!r} ({sha256[:12]})" if name else sha256[:12]
    return InvalidRequest(
        f"The weights of {called} are not on this machine. Upload or train the model, or run the merge again."
    )


def _entry(text: str) -> Entry | None:
    """Entry of a row, None if it cannot be read, so that the other models are still listed."""
    values = as_table(text)
    try:
        return Entry(**values | {name: tuple(values[name]) for name in ("classes", "mean", "std")})
    except (TypeError, KeyError):
        log.warning("a model cannot be read from the ledger and is left out")
        return None


def _check_caps(ledger: LedgerFolder, db: sqlite3.Connection, entry: Entry, address: str) -> None:
    limits = ledger.limits
    if entry.bytes > limits.model_mb * 1e6:
        raise InvalidRequest(
            f"The model needs {entry.bytes / 1e6:,.0f} MB. The limit per model is {limits.model_mb:,.0f} MB."
        )
    check_room(ledger, db, entry.owner, entry.bytes, entry.id, address=address)


def check_room(
    ledger: LedgerFolder, db: sqlite3.Connection, owner: str, added: int, id: str = "", *, address: str = ""
) -> None:
    """Raise InvalidRequest if a model of `added` bytes would exceed a cap. id: a model to be replaced."""
    limits = ledger.limits

    def count(which: str, *values: str) -> tuple[int, int]:
        query = f"SELECT COUNT(*), COALESCE(SUM(size), 0) FROM models WHERE id != ? {which}"
        return tuple(db.execute(query, (id, *values)).fetchone())

    number, size = count("AND owner = ?", owner)
    if number >= limits.models:
        raise InvalidRequest(f"You have {number} models, the limit per person. Delete one first.")
    if size + added > limits.owner_mb * 1e6:
        raise InvalidRequest(
            f"Your models would need {(size + added) / 1e6:,.0f} MB; the limit is {limits.owner_mb:,.0f} MB. "
            "Delete one first."
        )
    if address and count("AND address = ?", address)[1] + added > limits.address_mb * 1e6:
        raise InvalidRequest(
            f"The models brought from your network address would need more than {limits.address_mb:,.0f} MB, the limit "
            "per address. Delete some first."
        )
    # Several people's copies of one network are stored once.
    stored = "SELECT COALESCE(SUM(size), 0) FROM (SELECT DISTINCT sha256, size FROM models WHERE id != ?)"
    if db.execute(stored, (id,)).fetchone()[0] + added > limits.all_models_mb * 1e6:
        raise InvalidRequest(
            f"The models of all people here would need more than {limits.all_models_mb:,.0f} MB, the limit for all "
            "together. Try again when someone has deleted some."
        )
