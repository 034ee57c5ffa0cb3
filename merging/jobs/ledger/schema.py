"""Tables of the ledger: creation, and additions since format 1."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from merging.errors import HomeUnusable
from merging.jobs.ledger.connection import close_spares, connect, transaction
from merging.jobs.ledger.owners import hide_cookies
from merging.jobs.ledger.rescue.mending import mend
from merging.jobs.ledger.rescue.rows import is_damaged, set_aside, take_over
from merging.jobs.privacy import MARKS, mark_private

OURS = ("ledger", "store", "images", "scratch", "data")  # names that the program itself creates in its folder
RESCUE_SECONDS = 600.0  # longest wait for another process that rescues the ledger
log = logging.getLogger(__name__)
FORMAT = 1  # increased by hand when tables become incompatible; a ledger of another format is renamed, not converted

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, title TEXT NOT NULL, request TEXT NOT NULL, owner TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    created REAL NOT NULL, started REAL, finished REAL, deadline REAL,
    stage TEXT NOT NULL DEFAULT '', fraction REAL NOT NULL DEFAULT 0, message TEXT NOT NULL DEFAULT '',
    error TEXT, attempts INTEGER NOT NULL DEFAULT 0, run INTEGER NOT NULL DEFAULT 0,
    interrupted INTEGER NOT NULL DEFAULT 0, place TEXT NOT NULL DEFAULT '',
    dispatcher TEXT NOT NULL DEFAULT '', worker TEXT NOT NULL DEFAULT '',
    lane TEXT NOT NULL DEFAULT 'long', private INTEGER NOT NULL DEFAULT 0, hidden TEXT NOT NULL DEFAULT '',
    measured INTEGER NOT NULL DEFAULT 0,
    accuracy REAL, barrier REAL);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, kind);
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (state, created, started);
CREATE INDEX IF NOT EXISTS jobs_by_age ON jobs (created);
CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (state, finished);
CREATE TABLE IF NOT EXISTS owners (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, owner TEXT NOT NULL, asked REAL NOT NULL,
    address TEXT NOT NULL DEFAULT '', batch TEXT NOT NULL DEFAULT '',
    title TEXT NOT NULL DEFAULT '', PRIMARY KEY (job, owner));
CREATE INDEX IF NOT EXISTS owners_by_owner ON owners (owner);
CREATE TABLE IF NOT EXISTS marks (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, owner TEXT NOT NULL, name TEXT NOT NULL, note TEXT NOT NULL,
    starred INTEGER NOT NULL, archived INTEGER NOT NULL, PRIMARY KEY (job, owner));
CREATE TABLE IF NOT EXISTS stages (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, number INTEGER NOT NULL, stage TEXT NOT NULL,
    message TEXT NOT NULL, began REAL NOT NULL, seconds REAL, points TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (job, number));
CREATE TABLE IF NOT EXISTS artifacts (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, name TEXT NOT NULL, sha256 TEXT NOT NULL,
    size INTEGER NOT NULL, PRIMARY KEY (job, name));
CREATE INDEX IF NOT EXISTS artifacts_by_content ON artifacts (sha256);
CREATE TABLE IF NOT EXISTS pictures (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, question TEXT NOT NULL, unit INTEGER NOT NULL,
    sha256 TEXT NOT NULL, PRIMARY KEY (question, unit, job));
CREATE TABLE IF NOT EXISTS models (
    id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, owner TEXT NOT NULL, created REAL NOT NULL, size INTEGER NOT NULL,
    entry TEXT NOT NULL, address TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS models_by_content ON models (sha256);
CREATE TABLE IF NOT EXISTS made_of (made TEXT NOT NULL, part TEXT NOT NULL, PRIMARY KEY (part, made));
CREATE TABLE IF NOT EXISTS stopped (batch TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS guesses (
    owner TEXT NOT NULL, run TEXT NOT NULL, layer TEXT NOT NULL, unit INTEGER NOT NULL, guessed INTEGER NOT NULL,
    correct INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (owner, run, layer, unit));
CREATE TABLE IF NOT EXISTS classes (
    code TEXT PRIMARY KEY, title TEXT NOT NULL, lessons TEXT NOT NULL, style TEXT NOT NULL, secret TEXT NOT NULL,
    pace TEXT NOT NULL, place TEXT NOT NULL, shown TEXT NOT NULL, sweep TEXT NOT NULL,
    paused INTEGER NOT NULL, ended REAL NOT NULL, created REAL NOT NULL, version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS teachers (
    class TEXT NOT NULL REFERENCES classes ON DELETE CASCADE, owner TEXT NOT NULL, PRIMARY KEY (owner, class));
CREATE TABLE IF NOT EXISTS students (
    class TEXT NOT NULL REFERENCES classes ON DELETE CASCADE, owner TEXT NOT NULL, number INTEGER NOT NULL,
    nickname TEXT NOT NULL, lesson TEXT NOT NULL, step TEXT NOT NULL, hand REAL NOT NULL, seen REAL NOT NULL,
    PRIMARY KEY (class, owner));
CREATE INDEX IF NOT EXISTS students_by_owner ON students (owner);
CREATE TABLE IF NOT EXISTS answers (
    class TEXT NOT NULL, owner TEXT NOT NULL, lesson TEXT NOT NULL, step TEXT NOT NULL, answer TEXT NOT NULL,
    at REAL NOT NULL, PRIMARY KEY (class, owner, lesson, step));
CREATE INDEX IF NOT EXISTS answers_by_step ON answers (class, lesson, step);
CREATE TABLE IF NOT EXISTS served (owner TEXT PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS dispatchers (
    id TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, born REAL NOT NULL, seen REAL NOT NULL);
CREATE TABLE IF NOT EXISTS workers (
    name TEXT PRIMARY KEY, dispatcher TEXT NOT NULL REFERENCES dispatchers ON DELETE CASCADE, device TEXT NOT NULL,
    node TEXT NOT NULL, busy TEXT NOT NULL, memory_used INTEGER NOT NULL, memory_total INTEGER NOT NULL,
    gpu_memory_used INTEGER, gpu_memory_total INTEGER, seen REAL NOT NULL);
"""

_ADDED = {  # columns added since format 1: (table, column) -> declaration
    ("jobs", "interrupted"): "INTEGER NOT NULL DEFAULT 0",
    ("jobs", "place"): "TEXT NOT NULL DEFAULT ''",
    ("jobs", "hidden"): "TEXT NOT NULL DEFAULT ''",
    ("jobs", "lane"): "TEXT NOT NULL DEFAULT 'long'",
    ("jobs", "private"): "INTEGER NOT NULL DEFAULT 0",
    ("jobs", "measured"): "INTEGER NOT NULL DEFAULT 0",
    ("jobs", "accuracy"): "REAL",
    ("jobs", "barrier"): "REAL",
    ("stages", "points"): "TEXT NOT NULL DEFAULT ''",
    ("models", "address"): "TEXT NOT NULL DEFAULT ''",
    ("owners", "address"): "TEXT NOT NULL DEFAULT ''",
    ("owners", "batch"): "TEXT NOT NULL DEFAULT ''",
    ("owners", "title"): "TEXT NOT NULL DEFAULT ''",
}
_CLASSES = ("classes", "teachers", "students", "answers")
_ADDED_TABLES = ("marks", "made_of", "stopped", "guesses", *_CLASSES)  # tables added since format 1


def prepare_file(path: Path) -> None:
    """Create the ledger's file, or the tables and columns that it lacks.

    A file of another format is renamed and replaced by a new file. So is a damaged file, whose readable rows are copied
    into the new file. Raises HomeUnusable if the folder or the file cannot be created or written.
    """
    with _as_home_unusable(path):
        make_private(path.parent)
        close_spares()
        rescued = path.with_name(f"{path.stem}.rescued{path.suffix}")
        if rescued.exists() or (path.exists() and _is_damaged(path)):
            with _one_at_a_time(path.parent):  # the app and its dispatcher start at the same time
                _rescue(path, rescued)
        if path.exists() and _is_foreign(path):
            set_aside(path, f"format-{_format(path)}")
        _fill(path)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process of this folder is in this block. SQLite's lock ends with its process."""
    scratch = folder / "scratch"
    scratch.mkdir(mode=0o700, exist_ok=True)
    with closing(sqlite3.connect(scratch / "rescue.sqlite", timeout=RESCUE_SECONDS, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield


def _rescue(path: Path, rescued: Path) -> None:
    """Replace a damaged ledger by one with its readable rows, which are first collected in `rescued`."""
    if rescued.exists():  # the program was killed during a rescue
        _remove(rescued) if path.exists() else rescued.rename(path)
    if path.exists() and _is_damaged(path):  # still: another process may just have replaced it
        copied = _fill(rescued, path)
        close_spares()  # writes the log into the file
        old = set_aside(path, "damaged")
        rescued.rename(path)
        log.warning("%s was damaged: it is kept as %s, and %d of its rows were copied", path, old, copied)


def _remove(path: Path) -> None:
    """Delete a ledger and SQLite's files beside it."""
    for ending in ("-wal", "-shm", ""):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _fill(path: Path, old: Path | None = None) -> int:
    """Create the ledger's file, or what it lacks. old: a damaged ledger, whose readable rows are counted and copied."""
    path.touch(0o600)
    path.chmod(0o600)
    with connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        with transaction(db):
            for statement in _TABLES.split(";\n"):
                db.execute(statement)
            _add_what_is_new(db)
        copied = take_over(old, db, _ADDED) if old is not None else 0
        with transaction(db):  # also what was copied just now
            mend(db)
            hide_cookies(db)
            db.execute(f"PRAGMA user_version = {FORMAT}")
    return copied


@contextmanager
def _as_home_unusable(path: Path) -> Iterator[None]:
    """Convert errors of the operating system and of SQLite to HomeUnusable."""
    try:
        yield
    except OSError as error:
        in_its_way = isinstance(error, FileExistsError | NotADirectoryError)
        raise _unusable(path.parent, "a file is in its way" if in_its_way else str(error.strerror)) from error
    except sqlite3.Error as error:
        raise _unusable(path, str(error)) from error


def _unusable(path: Path, why: str) -> HomeUnusable:
    remedy = "Give write access to the user who runs the program, or free space on the disk,"
    if "locked" in why:
        remedy = "End the other program that has it open,"
    return HomeUnusable(
        f"Mergescope stores its runs in {path}, which cannot be used: {why}. {remedy} or set MERGESCOPE_HOME to "
        "another folder."
    )


def make_private(folder: Path) -> None:
    """Create the folder, readable only by this user; a folder with other files in it keeps its mode. Raises OSError."""

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if all(re.split(r"[.-]", one.name)[0] in OURS for one in folder.iterdir()):
        with suppress(PermissionError):  # the folder belongs to another user, who gave write access
            folder.chmod(0o700)


def _is_foreign(path: Path) -> bool:
    """Whether the ledger has another format. Where all tables are ours, its number is damaged."""
    if _format(path) in (0, FORMAT):
        return False
    with connect(path) as db:
        return not _are_ours(_tables(db))


def _is_damaged(path: Path) -> bool:
    return is_damaged(path, lambda db: _format(path) == FORMAT and not _are_ours(_tables(db)))


def _are_ours(found: dict[str, set[tuple[object, ...]]]) -> bool:
    """Whether the tables are declared as ours are; those of an earlier version lack what was added since format 1."""
    ours = _expected()
    added = {(table, column) for table, column in _ADDED}
    return found.keys() <= ours.keys() and all(
        found[table] <= parts and all((table, part[0]) in added for part in parts - found[table])
        if table in found
        else table in _ADDED_TABLES
        for table, parts in ours.items()
    )


@lru_cache(maxsize=1)
def _expected() -> dict[str, set[tuple[object, ...]]]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.row_factory = sqlite3.Row
        db.executescript(_TABLES)
        return _tables(db)


def _tables(db: sqlite3.Connection) -> dict[str, set[tuple[object, ...]]]:
    """Table, trigger or view -> its columns (name, type, ...), references and checks."""
    tables = dict[str, set[tuple[object, ...]]]()
    for kind, name, declared in db.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type != 'index'"
    ).fetchall():
        columns = "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info(?) WHERE ? = 'table'"
        references = 'SELECT "from", "table", on_delete FROM pragma_foreign_key_list(?)'
        tables[name] = {tuple(row) for row in db.execute(columns, (name, kind))}
        tables[name] |= {tuple(row) for row in db.execute(references, (name,))}
        tables[name] |= {("CHECK", check) for check in re.findall(r"CHECK *\(([^)]*)", str(declared))}
    return tables


def _add_what_is_new(db: sqlite3.Connection) -> None:
    """Add the columns that a ledger of an earlier version lacks; if it had no marks of privacy, set them."""
    fresh = set[str]()
    for (table, name), declared in _ADDED.items():
        if name not in {row["name"] for row in db.execute(f"PRAGMA table_info({table})")}:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {declared}")
            fresh.add(name)
    if not fresh.isdisjoint(MARKS):
        mark_private(db)


def _format(path: Path) -> int:
    with connect(path) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])
