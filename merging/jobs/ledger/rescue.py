"""Rescue of a damaged ledger: the file is renamed, and every readable row is copied into a new file."""

from __future__ import annotations

import logging
import re
import shutil
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from merging.jobs.ledger.connection import BUSY_SECONDS, connect, readable, transaction
from merging.jobs.privacy import MARKS, mark_private

TAKEN_OVER = (
    "jobs",
    "owners",
    "stages",
    "artifacts",
    "pictures",
    "models",
    "served",
    "marks",
    "made_of",
    "stopped",
    "guesses",
    "classes",
    "teachers",
    "students",
    "answers",
)
UNREADABLE = (
    sqlite3.DatabaseError,
    UnicodeDecodeError,
)  # the latter is also raised for SQLite's own messages about a damaged file
MAGIC = b"SQLite format 3\0"
HEADER = 100  # bytes
FLIPPED = 4  # most damaged bytes of MAGIC by which a ledger is still recognised
PAGE = 4096  # bytes; SQLite's usual size of pages
# Place in the header, usual bytes, allowed bytes: journal modes, fractions, format of the schema, UTF-8.
# The last two are 0 in a file without tables.
FIELDS = (
    (18, b"\2\2", (b"\1\1", b"\2\2")),
    (21, b"\x40\x20\x20", (b"\x40\x20\x20",)),
    (44, b"\0\0\0\4", tuple(bytes((0, 0, 0, n)) for n in range(5))),
    (56, b"\0\0\0\1", tuple(bytes((0, 0, 0, n)) for n in range(2))),
)
WAL_HEAD, FRAME = 32, 24 + PAGE  # bytes of a write-ahead log's header, and of a frame, which has one page
WAL_ORDERS = {b"\x37\x7f\x06\x82": "<", b"\x37\x7f\x06\x83": ">"}  # magic -> order of bytes in checksums, as in struct
ZERO = bytes(8)  # checksum before the first word
WAL_FORMAT = (3_007_000).to_bytes(4) + PAGE.to_bytes(4)
SMALLEST_ROW = 40  # bytes; with the file's size, bounds the number of its rows
log = logging.getLogger(__name__)


def is_damaged(path: Path, is_other: Callable[[sqlite3.Connection], bool]) -> bool:
    """Whether SQLite's integrity check fails, or `is_other` finds that the tables are not the ledger's."""
    if _header_mended(path) is not None or _wal_mended(path) is not None:
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


def _header_mended(path: Path) -> bytes | None:
    """Return the first bytes of the file as they must be, if a few of them are damaged; otherwise None.

    Without them SQLite opens nothing, although the rows may be whole. See https://www.sqlite.org/fileformat.html.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(HEADER)
    alike = sum(ours == theirs for ours, theirs in zip(MAGIC, head, strict=False))
    if len(head) < HEADER or alike < len(MAGIC) - FLIPPED:  # a new file, or one of another program
        return None
    mended = bytearray(head)
    mended[: len(MAGIC)] = MAGIC
    for at, right, allowed in FIELDS:
        if mended[at : at + len(right)] not in allowed:
            mended[at : at + len(right)] = right
    if int.from_bytes(mended[28:32]) * PAGE == path.stat().st_size:  # the number of pages
        mended[16:18] = PAGE.to_bytes(2)
    return bytes(mended) if mended != head else None


def _wal_mended(path: Path) -> bytes | None:
    """The write-ahead log of a ledger with its header mended; None if the header is right, or there are no frames.

    SQLite would drop all rows of the log without a word. Frames whose checksums do not go on from those before them are
    left out: they may be of a transaction that never ended. See https://www.sqlite.org/fileformat.html#walformat.
    """
    wal = path.with_name(f"{path.name}-wal")
    for pause in (0.1, 0.0):  # another program may be writing the header at this moment
        head = _start_of(wal, WAL_HEAD)
        if len(head) < WAL_HEAD or _checksum(head[:24], ZERO, WAL_ORDERS.get(head[:4], "<")) == head[24:]:
            return None
        time.sleep(pause)
    data = _start_of(wal)
    frames = [data[at : at + FRAME] for at in range(WAL_HEAD, len(data) - FRAME + 1, FRAME)]
    if not frames:
        return None
    # The flipped bit spoils the order of bytes, the header's checksum, or what this is computed from, but not all.
    starts = [(start, order) for order in "<>" for start in (head[24:], _checksum(head[:24], ZERO, order))]
    chain, order = max(((_chain(frames, *start), start[1]) for start in starts), key=lambda found: len(found[0]))
    magic = next(magic for magic, known in WAL_ORDERS.items() if known == order)
    right = magic + WAL_FORMAT + head[12:16] + frames[0][8:16]
    sums = _checksum(right, ZERO, order)
    right += sums
    for frame in chain:
        sums = _checksum(frame[:8] + frame[24:], sums, order)
        right += frame[:16] + sums + frame[24:]
    return right


def _start_of(file: Path, size: int = -1) -> bytes:
    """The first bytes of a file, or all; b"" if there is none, as when another program has just removed it."""
    with suppress(FileNotFoundError), file.open("rb") as opened:
        return opened.read(size)
    return b""


def _chain(frames: Sequence[bytes], sums: bytes, order: str) -> list[bytes]:
    """The first frames of a write-ahead log whose checksums go on from `sums`."""
    chain = []
    for frame in frames:
        sums = _checksum(frame[:8] + frame[24:], sums, order)
        if sums != frame[16:24]:
            break
        chain.append(frame)
    return chain


def _checksum(data: bytes, before: bytes, order: str) -> bytes:
    """The checksum (8 bytes) of a write-ahead log, going on from `before`. order: of bytes in a word, as in struct."""
    first, second = struct.unpack(">2I", before)
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return struct.pack(">2I", first, second)


def set_aside(path: Path, why: str) -> Path:
    """Rename a ledger and SQLite's files beside it to an unused name; return the new path."""
    numbers = ("", *(f"-{number}" for number in range(2, 10_000)))
    places = (path.with_name(f"{path.stem}.{why}{number}{path.suffix}") for number in numbers)
    new = next(place for place in places if not place.exists())
    for ending in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(new.with_name(new.name + ending))
    return new


def take_over(old: Path, db: sqlite3.Connection) -> int:
    """Copy the readable rows of a damaged ledger, which stays as it is; return their number."""
    scratch = old.parent / "scratch"  # what a killed program leaves there is deleted later
    scratch.mkdir(mode=0o700, exist_ok=True)
    with TemporaryDirectory(dir=scratch) as folder:
        return _take_over(_mended_copy(old, Path(folder)), db)


def _mended_copy(old: Path, folder: Path) -> Path:
    """A copy of a damaged ledger in this folder, in which the headers of file and log and the page count are mended."""
    copy, header = folder / old.name, _header_mended(old)
    for ending in ("", "-wal"):
        with suppress(FileNotFoundError):
            shutil.copyfile(old.with_name(old.name + ending), copy.with_name(copy.name + ending))
    wal = _wal_mended(old)
    if wal is not None:
        copy.with_name(f"{copy.name}-wal").write_bytes(wal)
    with copy.open("r+b") as file:
        file.write(header or b"")
        file.seek(0)
        if file.read(18) == MAGIC + PAGE.to_bytes(2):
            file.seek(28)  # the number of pages, by which SQLite finds the end of the rows
            file.write((copy.stat().st_size // PAGE).to_bytes(4))
    return copy


def _take_over(old: Path, db: sqlite3.Connection) -> int:
    copied, most, marked = 0, old.stat().st_size // SMALLEST_ROW, True
    with closing(sqlite3.connect(old, timeout=BUSY_SECONDS, isolation_level=None)) as source, transaction(db):
        source.text_factory = readable
        _mend_declarations(source, db)
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


def _mend_declarations(source: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Let SQLite read the rows of tables whose declaration is damaged, of which it would read none, or not all columns.

    The declarations that take their place stand in a transaction that is never committed: the file stays as it is.
    """
    source.execute("PRAGMA writable_schema = ON")  # so that entries of the schema beside a damaged one can be read
    with suppress(*UNREADABLE):
        source.execute("BEGIN")
        entries = source.execute("SELECT rowid, name, tbl_name, sql FROM sqlite_master").fetchall()
        for table in TAKEN_OVER:
            ours = [(row["name"], row["type"]) for row in db.execute(f"PRAGMA table_info({table})")]
            if _names(source, table).issuperset(name for name, _ in ours):
                continue
            for entry, *called, declared in entries:
                if table in called and (order := _in_order(str(declared), ours)):
                    plain = f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind in order)})"
                    update = "UPDATE sqlite_master SET name = ?, tbl_name = ?, sql = ? WHERE rowid = ?"
                    source.execute(update, (table, table, plain, entry))
        source.execute("PRAGMA writable_schema = RESET")  # SQLite reads the declarations again
    source.execute("PRAGMA writable_schema = ON")


def _in_order(declared: str, ours: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of our columns (name, type) that a damaged declaration names, in its order; [] if it names others, too.

    Columns that were added to a ledger of an earlier version stand at the end. One character of each may be wrong.
    """
    text = re.sub(r"[\s(]", " ", declared)
    found, free = dict[int, tuple[str, str]](), [True] * len(text)
    for wrong in (0, 1):
        for column in ours:
            words = " {} {}".format(*column)
            places = range(0 if column not in found.values() else len(text), len(text) - len(words) + 1)
            for at in places:
                part = slice(at, at + len(words))
                if all(free[part]) and sum(map(str.__ne__, words, text[part])) == wrong:
                    found[at], free[part] = column, [False] * len(words)
                    break
    known = len(re.findall(r"\b(?:TEXT|REAL|INTEGER)\b", text)) <= len(found)
    return [found[at] for at in sorted(found)] if known else []


def _copy(source: sqlite3.Connection, db: sqlite3.Connection, table: str, there: set[str], most: int) -> int:
    """Copy a table's readable rows; return their number, and log that of the others.

    A value that is missing although each row must have one becomes an empty blob: to `mending` that is a damaged value.
    """
    if not there:
        log.warning("the table %s is missing or cannot be read: none of its rows is copied", table)
        return 0
    read = dict[str, str]()  # column -> what is read for it
    for name, needed, default in db.execute(f"SELECT name, \"notnull\", dflt_value FROM pragma_table_info('{table}')"):
        if name in there:
            read[name] = f"COALESCE({name}, x'')" if needed else name
        elif needed and default is None:
            read[name] = "x''"
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
