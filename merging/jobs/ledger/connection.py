"""Connections to the ledger's SQLite file: one per call, from any thread or process on this machine."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from merging.errors import MergescopeError

BUSY_SECONDS = 20
SPARE = 8  # unused connections that are kept open, because opening a connection takes longer than most queries


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """Provide a connection for one call; its rows are indexed by column names. Safe in any thread and process."""
    db = _spare(path) or _open(path)
    whole = False
    try:
        yield db
        whole = True
    finally:
        if whole:
            _lay_aside(path, db)
        else:  # after an exception a transaction may still be open
            db.close()


_spares: list[tuple[tuple[int, int] | None, sqlite3.Connection]] = []  # (identity of its file, connection)
_sharing = threading.Lock()


def close_spares() -> None:
    """Close all unused connections, because their caches may no longer match the file."""
    with _sharing:
        while _spares:
            _spares.pop()[1].close()


def readable(data: bytes) -> str:
    """Decode a text of the file. Damaged characters are replaced, so that the other rows can still be read."""
    return data.decode("utf-8", "replace")


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.row_factory, db.text_factory = sqlite3.Row, readable
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def _spare(path: Path) -> sqlite3.Connection | None:
    """Take an unused open connection to this file, None if there is none."""
    file = _identity(path)
    with _sharing:
        place = next((place for place, (identity, _) in enumerate(_spares) if identity == file), None)
        return None if place is None else _spares.pop(place)[1]


def _lay_aside(path: Path, db: sqlite3.Connection) -> None:
    """Keep the connection for later calls; if more than SPARE are kept, close the one unused for the longest time."""
    with _sharing:
        _spares.insert(0, (_identity(path), db))
        old = _spares.pop()[1] if len(_spares) > SPARE else None
    if old is not None:
        old.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode, which distinguish a file from a later one at the same path; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """Let all reads in the `with` block see the same state of the database, without blocking other connections."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Run a transaction that holds the write lock from its beginning; an exception rolls the transaction back.

    Raises MergescopeError if others hold the lock for longer than BUSY_SECONDS.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        raise MergescopeError(
            "Other work has been changing the ledger for a long time. Try again in a minute."
        ) from error
    try:
        yield db
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
