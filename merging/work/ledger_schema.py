"""The tables of the ledger, and connections to them: SQLite in WAL mode, one connection per call."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUSY_SECONDS = 20
SPARE = 8  # connections that stay open: a page asks thirty times, and opening one costs more than most questions
FORMAT = 1  # raised by hand with the tables; a ledger of another format is set aside, never guessed at

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, title TEXT NOT NULL, request TEXT NOT NULL, owner TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    created REAL NOT NULL, started REAL, finished REAL, deadline REAL,
    stage TEXT NOT NULL DEFAULT '', fraction REAL NOT NULL DEFAULT 0, message TEXT NOT NULL DEFAULT '',
    error TEXT, attempts INTEGER NOT NULL DEFAULT 0, run INTEGER NOT NULL DEFAULT 0,
    interrupted INTEGER NOT NULL DEFAULT 0,
    dispatcher TEXT NOT NULL DEFAULT '', worker TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, kind);
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (state, created, started);
CREATE INDEX IF NOT EXISTS jobs_by_age ON jobs (created);
CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (state, finished);
CREATE TABLE IF NOT EXISTS owners (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, owner TEXT NOT NULL, asked REAL NOT NULL,
    PRIMARY KEY (job, owner));
CREATE INDEX IF NOT EXISTS owners_by_owner ON owners (owner);
CREATE TABLE IF NOT EXISTS stages (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, number INTEGER NOT NULL, stage TEXT NOT NULL,
    message TEXT NOT NULL, began REAL NOT NULL, seconds REAL, PRIMARY KEY (job, number));
CREATE TABLE IF NOT EXISTS artifacts (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, name TEXT NOT NULL, sha256 TEXT NOT NULL,
    size INTEGER NOT NULL, PRIMARY KEY (job, name));
CREATE INDEX IF NOT EXISTS artifacts_by_content ON artifacts (sha256);
CREATE TABLE IF NOT EXISTS pictures (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, question TEXT NOT NULL, unit INTEGER NOT NULL,
    sha256 TEXT NOT NULL, PRIMARY KEY (question, unit, job));
CREATE TABLE IF NOT EXISTS models (
    id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, owner TEXT NOT NULL, created REAL NOT NULL, size INTEGER NOT NULL,
    entry TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS served (owner TEXT PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS dispatchers (
    id TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, born REAL NOT NULL, seen REAL NOT NULL);
CREATE TABLE IF NOT EXISTS workers (
    name TEXT PRIMARY KEY, dispatcher TEXT NOT NULL REFERENCES dispatchers ON DELETE CASCADE, device TEXT NOT NULL,
    node TEXT NOT NULL, busy TEXT NOT NULL, memory_used INTEGER NOT NULL, memory_total INTEGER NOT NULL,
    gpu_memory_used INTEGER, gpu_memory_total INTEGER, seen REAL NOT NULL);
"""

_ADDED = {"interrupted": "INTEGER NOT NULL DEFAULT 0"}  # to jobs, since format 1


def prepare(path: Path) -> None:
    """Make the tables where they are missing; a file of another format is renamed out of the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and _format(path) not in (0, FORMAT):
        path.rename(path.with_suffix(f".format-{_format(path)}"))
    with connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        with transaction(db):
            for statement in _TABLES.split(";\n"):
                db.execute(statement)
            _add_what_is_new(db)
            db.execute(f"PRAGMA user_version = {FORMAT}")


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


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def _spare(path: Path) -> sqlite3.Connection | None:
    """An open connection to this file that nobody uses now."""
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


def _add_what_is_new(db: sqlite3.Connection) -> None:
    """Columns that a ledger of an earlier version of the program lacks."""
    there = {row["name"] for row in db.execute("PRAGMA table_info(jobs)")}
    for name, declared in _ADDED.items():
        if name not in there:
            db.execute(f"ALTER TABLE jobs ADD COLUMN {name} {declared}")


def _format(path: Path) -> int:
    with connect(path) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])
