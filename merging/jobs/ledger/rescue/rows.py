"""The rows of a damaged ledger: its file is renamed, and every readable row is copied into a new file."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from merging.jobs.ledger.connection import BUSY_SECONDS, connect, readable, transaction
from merging.jobs.ledger.rescue.headers import MAGIC, PAGE, header_mended, wal_mended, write_log
from merging.jobs.ledger.rescue.tables import TAKEN_OVER, UNREADABLE, restore_list
from merging.jobs.privacy import MARKS, mark_private

LACKING = "x''"  # stands for a value that is missing, in SQL
SMALLEST_ROW = 40  # bytes; with the file's size, bounds the number of its rows
log = logging.getLogger(__name__)


def is_damaged(path: Path, is_other: Callable[[sqlite3.Connection], bool]) -> bool:
    """Whether SQLite's integrity check fails, or `is_other` finds that the tables are not the ledger's."""
    if header_mended(path) is not None or wal_mended(path) is not None:
        return True
    try:
        with connect(path) as db:
            if db.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                return True
            empty = not db.execute("SELECT 1 FROM sqlite_master").fetchone()
            return not empty and is_other(db)
    except sqlite3.OperationalError:  # a problem of the folder or the disk, not of the file
        raise
    except UNREADABLE:
        return True


def set_aside(path: Path, why: str) -> Path:
    """Rename a ledger and SQLite's files beside it to an unused name; return the new path."""
    numbers = ("", *(f"-{number}" for number in range(2, 10_000)))
    places = (path.with_name(f"{path.stem}.{why}{number}{path.suffix}") for number in numbers)
    new = next(place for place in places if not place.exists())
    for ending in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(new.with_name(new.name + ending))
    return new


def take_over(old: Path, db: sqlite3.Connection, added: Collection[tuple[str, str]]) -> int:
    """Copy the readable rows of a damaged ledger, which stays as it is; return their number.

    added: (table, column) of what ledgers of earlier versions lack.
    """
    scratch = old.parent / "scratch"  # what a killed program leaves there is deleted later
    scratch.mkdir(mode=0o700, exist_ok=True)
    with TemporaryDirectory(dir=scratch) as folder:
        copy = _mended_copy(old, Path(folder))
        restore_list(copy, db, added)
        return _take_over(copy, db)


def _mended_copy(old: Path, folder: Path) -> Path:
    """A copy of a damaged ledger in this folder: headers and page count are mended, and the log is written into it."""
    copy, header = folder / old.name, header_mended(old)
    for ending in ("", "-wal"):
        with suppress(FileNotFoundError):
            shutil.copyfile(old.with_name(old.name + ending), copy.with_name(copy.name + ending))
    wal = wal_mended(old)
    if wal is not None:
        copy.with_name(f"{copy.name}-wal").write_bytes(wal)
    with copy.open("r+b") as file:
        file.write(header or b"")
        file.seek(0)
        ours = file.read(18) == MAGIC + PAGE.to_bytes(2)
    if ours:
        write_log(copy)
    return copy


def _take_over(old: Path, db: sqlite3.Connection) -> int:
    copied, most, marked = 0, old.stat().st_size // SMALLEST_ROW, True
    with closing(sqlite3.connect(old, timeout=BUSY_SECONDS, isolation_level=None)) as source, transaction(db):
        source.text_factory = readable
        for table in TAKEN_OVER:
            there = _names(source, table)
            marked = marked and (table != "jobs" or there.issuperset(MARKS))
            copied += _copy(source, db, table, there, most)
        back = "UPDATE jobs SET state = 'queued', started = NULL, dispatcher = '' WHERE state = 'running'"
        db.execute(back)  # it is unknown which dispatcher held the jobs
        db.execute("DELETE FROM jobs WHERE length(id) != 64 OR id GLOB '*[^0-9a-f]*'")
        if not marked:  # a ledger of an earlier version
            mark_private(db)
    return copied


def _names(source: sqlite3.Connection, table: str) -> set[str]:
    """Names of the table's columns; an empty set if SQLite cannot read its declaration."""
    with suppress(*UNREADABLE):
        return {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
    return set()


def _copy(source: sqlite3.Connection, db: sqlite3.Connection, table: str, there: set[str], most: int) -> int:
    """Copy a table's readable rows; return their number, and log that of the others.

    A value that is missing although each row must have one becomes the usual one, or an empty blob if there is none: to
    `mending` that is a damaged value.
    """
    if not there:
        log.warning("the table %s is missing or cannot be read: none of its rows is copied", table)
        return 0
    read = dict[str, str]()  # column -> what is read for it
    for name, needed, default in db.execute(f"SELECT name, \"notnull\", dflt_value FROM pragma_table_info('{table}')"):
        if name in there:
            read[name] = f"COALESCE({name}, {default or LACKING})" if needed else name
        elif needed and default is None:
            read[name] = LACKING
    into = f"INSERT INTO {table} ({', '.join(read)}) VALUES ({', '.join('?' * len(read))}) ON CONFLICT DO NOTHING"
    copied, refused = 0, set[tuple[Any, ...]]()
    for row in _rows(source, f"SELECT {', '.join(read.values())} FROM {table}", most):
        try:
            copied += db.execute(into, row).rowcount
        except sqlite3.IntegrityError:
            refused.add(row)
    if refused:
        why = "they are damaged, or what they belong to is lost"
        log.warning("%d rows of the table %s are not copied: %s", len(refused), table, why)
    return copied


def _rows(source: sqlite3.Connection, query: str, most: int) -> Iterator[tuple[Any, ...]]:
    """All rows of a table; if the table is damaged, all readable rows, some of them twice."""
    try:
        yield from source.execute(query)
        return
    except UNREADABLE:
        log.warning("a table is damaged; its rows are read one by one")
    for number in range(1, most):
        with suppress(*UNREADABLE):
            yield from source.execute(f"{query} WHERE rowid = ?", (number,))
    with suppress(*UNREADABLE):  # row ids may be larger than `most` if many rows were deleted
        yield from source.execute(f"{query} ORDER BY rowid DESC")
