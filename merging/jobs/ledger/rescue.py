"""What becomes of a ledger that is damaged: it is set aside, and every row that can be read is taken over."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from merging.jobs.ledger.connection import BUSY_SECONDS, connect, readable, transaction

TAKEN_OVER = ("jobs", "owners", "stages", "artifacts", "pictures", "models", "served")
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)  # also of what SQLite itself says of a damaged file
SMALLEST_ROW = 40  # bytes
log = logging.getLogger(__name__)


def is_damaged(path: Path, is_other: Callable[[sqlite3.Connection], bool]) -> bool:
    """Whether SQLite finds fault with the file, or `is_other` says that its tables are not the ledger's."""
    try:
        with connect(path) as db:
            if db.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                return True
            empty = not db.execute("SELECT 1 FROM sqlite_master").fetchone()
            return not empty and is_other(db)
    except sqlite3.OperationalError:  # the folder or the disk is at fault
        raise
    except UNREADABLE:
        return True


def set_aside(path: Path, why: str) -> Path:
    """Rename a ledger and what SQLite keeps beside it, to a name that no file has yet."""
    numbers = ("", *(f"-{number}" for number in range(2, 10_000)))
    places = (path.with_name(f"{path.stem}.{why}{number}{path.suffix}") for number in numbers)
    new = next(place for place in places if not place.exists())
    for ending in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(new.with_name(new.name + ending))
    return new


def take_over(old: Path, db: sqlite3.Connection) -> int:
    """Copy what can be read of a damaged ledger; gives the number of rows."""
    taken, most = 0, old.stat().st_size // SMALLEST_ROW
    with closing(sqlite3.connect(old, timeout=BUSY_SECONDS, isolation_level=None)) as source, transaction(db):
        source.text_factory = readable
        source.execute("PRAGMA writable_schema = ON")  # one damaged entry of the schema hides no other
        for table in TAKEN_OVER:
            names = [row["name"] for row in db.execute(f"PRAGMA table_info({table})")]
            with suppress(*UNREADABLE):
                there = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
                names = [name for name in names if name in there]
            into = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
            for row in _rows(source, f"SELECT {', '.join(names)} FROM {table}", most):
                with suppress(sqlite3.IntegrityError):
                    taken += db.execute(into, row).rowcount
        back = "UPDATE jobs SET state = 'queued', started = NULL, dispatcher = '' WHERE state = 'running'"
        db.execute(back)  # it is not known which dispatcher had taken them
        db.execute("DELETE FROM jobs WHERE length(id) != 64 OR id GLOB '*[^0-9a-f]*'")
    return taken


def _rows(source: sqlite3.Connection, chosen: str, most: int) -> Iterator[tuple[Any, ...]]:
    """All rows of a table where they can be read in one go, else those that can be read one by one, twice perhaps."""
    try:
        yield from source.execute(chosen)
        return
    except UNREADABLE:
        log.warning("a table is damaged, and its rows are read one by one")
    for number in range(1, most):
        with suppress(*UNREADABLE):
            yield from source.execute(f"{chosen} WHERE rowid = ?", (number,))
    with suppress(*UNREADABLE):  # numbers may be larger than the file suggests, where many rows were deleted
        yield from source.execute(f"{chosen} ORDER BY rowid DESC")
