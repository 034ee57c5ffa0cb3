"""Connections to the ledger's SQLite file: one per call, from any thread and process of this machine."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUSY_SECONDS = 20
SPARE = 8  # unused connections that stay open: opening one takes longer than most of a page's thirty queries


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection for one call, with rows that can be read by name. Safe in any thread and process."""
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
    """Decode a text of the file. Damaged characters are replaced, so that they do not hide other rows."""
    return data.decode("utf-8", "replace")


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.row_factory, db.text_factory = sqlite3.Row, readable
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def _spare(path: Path) -> sqlite3.Connection | None:
    """Take an unused open connection to this file, None where there is none."""
    file = _identity(path)
    with _sharing:
        place = next((place for place, (identity, _) in enumerate(_spares) if identity == file), None)
        return None if place is None else _spares.pop(place)[1]


def _lay_aside(path: Path, db: sqlite3.Connection) -> None:
    """Keep the connection for a later call; beyond SPARE connections, the one unused for longest is closed."""
    with _sharing:
        _spares.insert(0, (_identity(path), db))
        old = _spares.pop()[1] if len(_spares) > SPARE else None
    if old is not None:
        old.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode, which distinguish a file from a later one at the same path; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """Make all reads inside see the same state of the database, without blocking others."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Run a transaction that is the only writer from its first statement on; an exception rolls it back."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
