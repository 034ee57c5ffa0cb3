"""Connections to the ledger's file: one per call, in WAL mode, from any thread and process of this machine."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUSY_SECONDS = 20
SPARE = 8  # connections that stay open: a page asks thirty times, and opening one costs more than most questions


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for one call; rows can be read by name. Safe from any thread and process of this machine."""
    db = _spare(path) or _open(path)
    whole = False
    try:
        yield db
        whole = True
    finally:
        if whole:
            _lay_aside(path, db)
        else:  # in the middle of something, perhaps
            db.close()


_spares: list[tuple[tuple[int, int] | None, sqlite3.Connection]] = []  # with the file that each is open to
_sharing = threading.Lock()


def close_spares() -> None:
    """Close all unused connections: what they have cached may no longer be what the file holds."""
    with _sharing:
        while _spares:
            _spares.pop()[1].close()


def readable(data: bytes) -> str:
    """A text of the file; damaged letters of one are replaced, and hide no other row."""
    return data.decode("utf-8", "replace")


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.row_factory, db.text_factory = sqlite3.Row, readable
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def _spare(path: Path) -> sqlite3.Connection | None:
    """An open, unused connection to this file."""
    file = _identity(path)
    with _sharing:
        place = next((place for place, (known, _) in enumerate(_spares) if known == file), None)
        return None if place is None else _spares.pop(place)[1]


def _lay_aside(path: Path, db: sqlite3.Connection) -> None:
    """Keep the connection for the next call; the one that has waited longest is closed for it."""
    with _sharing:
        _spares.insert(0, (_identity(path), db))
        old = _spares.pop()[1] if len(_spares) > SPARE else None
    if old is not None:
        old.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode, for a file that took the place of another is not the same; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """Everything read inside is of one moment; it blocks nobody."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing, and alone among the writers from its first statement on."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
