"""The list of tables of a damaged ledger, and their declarations."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from merging.jobs.ledger.connection import readable
from merging.jobs.ledger.rescue.headers import HEADER, MAGIC, PAGE, write_log

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
# An empty list of tables, after the header on page 1: a leaf without cells. https://www.sqlite.org/fileformat.html#b_tree_pages
NO_TABLES = b"\x0d" + bytes(4) + PAGE.to_bytes(2) + bytes(PAGE - HEADER - 7)
FREE = 32, 8  # place and number of the header's bytes that name the unused pages
TABLE_PAGES = b"\x05", b"\x0d"  # first byte of a page of a table
SAMPLE = 50  # rows by which a table is recognised
KINDS: dict[str, type | tuple[type, ...]] = {
    "TEXT": str,
    "REAL": (int, float),
    "INTEGER": int,
}  # what a column of this type holds


def restore_list(copy: Path, db: sqlite3.Connection, added: Collection[tuple[str, str]]) -> None:
    """Write the list of tables anew into a copy of a damaged ledger, if SQLite cannot read the whole list.

    Entries that can be read stay. The other tables are looked for on the pages where a new ledger, `db`, has them: all
    ledgers are made in one order. What is found there must be rows that fit the table, or no rows.

    added: (table, column) of what ledgers of earlier versions lack, or have behind their other columns.
    """
    query = "SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"
    usual = {name: root for name, root in db.execute(query).fetchall() if name in TAKEN_OVER}
    listed = _listed(copy, db)
    if usual.keys() <= listed.keys() or _page(copy, 1)[:18] != MAGIC + PAGE.to_bytes(2):
        return
    write_log(copy)
    taken = {root for root, _ in listed.values()} | _children(copy)
    found = {
        name: root
        for name, root in usual.items()
        if name not in listed and root not in taken and _page(copy, root)[:1] in TABLE_PAGES
    }
    with copy.open("r+b") as file:
        file.seek(FREE[0])
        file.write(bytes(FREE[1]))
        file.seek(HEADER)
        file.write(NO_TABLES)
    with closing(sqlite3.connect(copy, isolation_level=None)) as source:
        source.text_factory = readable
        source.execute("PRAGMA writable_schema = ON")
        for name, (root, declared) in listed.items():
            _enter(source, name, root, declared)
        for name, root in found.items():
            columns = _columns(db, name)
            grown = sorted(columns, key=lambda column: (name, column["name"]) in added)
            for order in (columns, grown):
                _enter(source, name, root, _plain(name, [(one["name"], one["type"]) for one in order]))
                if _fits(source, name, [one for one in order if (name, one["name"]) not in added], order):
                    break
                source.execute("DELETE FROM sqlite_master WHERE name = ?", (name,))


def _enter(source: sqlite3.Connection, table: str, root: int, declared: str) -> None:
    """Add a table to the list. root: number of the page where it begins."""
    source.execute("INSERT INTO sqlite_master VALUES ('table', ?, ?, ?, ?)", (table, table, root, declared))
    source.execute("PRAGMA writable_schema = RESET")  # SQLite reads the list again
    source.execute("PRAGMA writable_schema = ON")


def _listed(copy: Path, db: sqlite3.Connection) -> dict[str, tuple[int, str]]:
    """The tables that SQLite can read from the list: name -> (page, declaration without keys where it is known)."""
    tables = dict[str, tuple[int, str]]()
    with closing(sqlite3.connect(copy, isolation_level=None)) as source, suppress(*UNREADABLE):
        source.text_factory = readable
        source.row_factory = sqlite3.Row
        source.execute("PRAGMA writable_schema = ON")
        query = "SELECT name, tbl_name, rootpage, sql FROM sqlite_master WHERE type != 'index' AND rootpage"
        for *called, root, declared in source.execute(query):
            for name in {*called} & {*TAKEN_OVER}:
                ours = [(row["name"], row["type"]) for row in _columns(db, name)]
                there = [(row["name"], row["type"]) for row in _columns(source, name)]
                order = there if there and {*there} <= {*ours} else _in_order(str(declared), ours)
                tables[name] = root, _plain(name, order) if order else str(declared)
    return tables


def _columns(db: sqlite3.Connection, table: str) -> list[Any]:
    """Name, type and NOT NULL of every column of a table, in order."""
    return db.execute(f"PRAGMA table_info({table})").fetchall()


def _page(file: Path, number: int) -> bytes:
    """A page of an SQLite file. number: from 1."""
    with file.open("rb") as opened:
        opened.seek((number - 1) * PAGE)
        return opened.read(PAGE)


def _children(file: Path) -> set[int]:
    """Numbers of the pages to which another page of a table points: no table begins there."""
    children = set[int]()
    for number in range(2, file.stat().st_size // PAGE + 1):
        page = _page(file, number)
        if page[:1] == TABLE_PAGES[0]:
            cells = int.from_bytes(page[3:5])
            places = [int.from_bytes(page[at : at + 2]) for at in range(12, min(12 + 2 * cells, PAGE), 2)]
            children |= {int.from_bytes(page[at : at + 4]) for at in (8, *places)}
    return children


def _fits(source: sqlite3.Connection, table: str, needed: Sequence[Any], columns: Sequence[Any]) -> bool:
    """Whether most of the first rows have values of the columns' types. needed: columns that earlier versions have."""
    may_lack = [not one["notnull"] or one not in needed for one in columns]
    fitting = list[bool]()
    with suppress(*UNREADABLE):
        for row in source.execute(f"SELECT * FROM {table} LIMIT {SAMPLE}"):
            each = zip(row, columns, may_lack, strict=True)
            fitting.append(all((v is None and lacks) or isinstance(v, KINDS[one["type"]]) for v, one, lacks in each))
    return sum(fitting) >= len(fitting) / 2


def names_of(source: sqlite3.Connection, table: str) -> set[str]:
    """Names of the table's columns; an empty set if SQLite cannot read its declaration."""
    with suppress(*UNREADABLE):
        return {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
    return set()


def mend_declarations(source: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Let SQLite read the rows of tables whose declaration is damaged, of which it would read none, or not all columns.

    The declarations that take their place stand in a transaction that is never committed: the file stays as it is.
    """
    source.execute("PRAGMA writable_schema = ON")  # so that entries of the schema beside a damaged one can be read
    with suppress(*UNREADABLE):
        source.execute("BEGIN")
        entries = source.execute("SELECT rowid, name, tbl_name, sql FROM sqlite_master").fetchall()
        for table in TAKEN_OVER:
            ours = [(row["name"], row["type"]) for row in db.execute(f"PRAGMA table_info({table})")]
            if names_of(source, table).issuperset(name for name, _ in ours):
                continue
            for entry, *called, declared in entries:
                if table in called and (order := _in_order(str(declared), ours)):
                    update = "UPDATE sqlite_master SET name = ?, tbl_name = ?, sql = ? WHERE rowid = ?"
                    source.execute(update, (table, table, _plain(table, order), entry))
        source.execute("PRAGMA writable_schema = RESET")  # SQLite reads the declarations again
    source.execute("PRAGMA writable_schema = ON")


def _plain(table: str, columns: Sequence[tuple[str, str]]) -> str:
    """Declaration of a table without its keys, so that SQLite reads the rows and no index."""
    return f"CREATE TABLE {table} ({', '.join(' '.join(column) for column in columns)})"


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
