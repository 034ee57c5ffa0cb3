"""The list of tables of a damaged ledger, written anew."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from merging.jobs.ledger.connection import readable
from merging.jobs.ledger.rescue.headers import HEADER, MAGIC, PAGE

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
# The latter is also raised for SQLite's own messages about a damaged file.
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
# An empty list of tables, after the header on page 1: a leaf without cells (sqlite.org/fileformat.html, b-tree pages).
NO_TABLES = b"\x0d" + bytes(4) + PAGE.to_bytes(2) + bytes(PAGE - HEADER - 7)
FREE = 32, 8  # place and number of the header's bytes that name the unused pages
TABLE_PAGES = b"\x05", b"\x0d"  # first byte of a page of a table
SAMPLE = 50  # rows by which a table is recognised
# What a column of this type holds.
KINDS: dict[str, type | tuple[type, ...]] = {"TEXT": str, "REAL": (int, float), "INTEGER": int}


def restore_list(copy: Path, db: sqlite3.Connection, added: Collection[tuple[str, str]]) -> None:
    """Write the list of tables anew into a copy of a damaged ledger, without indexes and keys, which are not needed.

    One damaged entry can keep SQLite from all tables after it. Tables that are lost from the list are looked for on the
    pages where a new ledger, `db`, has them: all ledgers are made in one order. What is found there must be rows that
    fit the table, or no rows. The copy must have no write-ahead log.

    added: (table, column) of what ledgers of earlier versions lack, or have behind their other columns in this order.
    """
    data = copy.read_bytes()
    if data[:18] != MAGIC + PAGE.to_bytes(2):
        return
    every = db.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'").fetchall()
    usual = {name: root for name, root in every if name in TAKEN_OVER}
    listed = _listed(copy, data, db, usual)
    # Page 1 may be what is damaged, so that a table is not taken for its child.
    taken = {root for root, _ in listed.values()} | _children(data, range(2, len(data) // PAGE + 1))
    free = {root for root in usual.values() if root not in taken and _page(data, root)[:1] in TABLE_PAGES}
    places = {column: place for place, column in enumerate(added)}
    with copy.open("r+b") as file:
        file.seek(FREE[0])
        file.write(bytes(FREE[1]))
        file.seek(HEADER)
        file.write(NO_TABLES)
    with closing(sqlite3.connect(copy, isolation_level=None)) as source:
        source.text_factory = readable
        source.execute("PRAGMA writable_schema = ON")
        for name in usual:
            root, known = listed.get(name, (usual[name], []))
            if name in listed or root in free:
                columns = _columns(db, name)
                grown = sorted(columns, key=lambda column: places.get((name, column["name"]), -1))
                _enter(source, name, root, [known] if known else [columns, grown], added)


def _enter(
    source: sqlite3.Connection, table: str, root: int, orders: Sequence[Sequence[Any]], added: Collection[Any]
) -> None:
    """Add a table to the list, with the first order of columns that fits its rows. root: page where it begins."""
    for columns in orders:
        plain = f"CREATE TABLE {table} ({', '.join('{} {}'.format(one['name'], one['type']) for one in columns)})"
        source.execute("INSERT INTO sqlite_master VALUES ('table', ?, ?, ?, ?)", (table, table, root, plain))
        source.execute("PRAGMA writable_schema = RESET")  # SQLite reads the list again
        source.execute("PRAGMA writable_schema = ON")
        if len(orders) == 1 or _fits(source, table, columns, added):
            return
        source.execute("DELETE FROM sqlite_master WHERE name = ?", (table,))


def _listed(
    copy: Path, data: bytes, db: sqlite3.Connection, usual: Mapping[str, int]
) -> dict[str, tuple[int, list[Any]]]:
    """The tables that SQLite can read from the list: name -> (page, columns in order, [] if they cannot be read).

    data: the file's content.  usual: name -> page of a table in a new ledger. A page that is used for something else,
    too, is believed only there.
    """
    entries, tables = list[sqlite3.Row](), dict[str, tuple[int, list[Any]]]()
    with closing(sqlite3.connect(copy, isolation_level=None)) as source, suppress(*UNREADABLE):
        source.text_factory = readable
        source.row_factory = sqlite3.Row
        source.execute("PRAGMA writable_schema = ON")  # so that entries beside a damaged one can be read
        with suppress(*UNREADABLE):  # those before a damaged one
            query = "SELECT name, tbl_name, rootpage, sql FROM sqlite_master WHERE typeof(rootpage) = 'integer'"
            entries.extend(source.execute(f"{query} AND rootpage BETWEEN 2 AND ?", (len(data) // PAGE,)))
        entries = [entry for entry in entries if _page(data, entry["rootpage"])[:1] in TABLE_PAGES]  # without indexes
        used = Counter(entry["rootpage"] for entry in entries)
        used.update(_children(data, range(1, len(data) // PAGE + 1)))
        for entry in entries:
            root = entry["rootpage"]
            for name in {entry["name"], entry["tbl_name"]} & usual.keys():
                if used[root] == 1 or root == usual[name]:
                    tables[name] = root, _in_order(str(entry["sql"]), _columns(db, name))
    return tables


def _columns(db: sqlite3.Connection, table: str) -> list[Any]:
    """Name, type and NOT NULL of every column of a table, in order."""
    return db.execute(f"PRAGMA table_info({table})").fetchall()


def _page(data: bytes, number: int) -> bytes:
    """A page of an SQLite file. number: from 1."""
    return data[(number - 1) * PAGE : number * PAGE]


def _children(data: bytes, numbers: Iterable[int]) -> set[int]:
    """Numbers of the pages to which these pages of tables point: no table begins there."""
    children = set[int]()
    for number in numbers:
        page, start = _page(data, number), HEADER if number == 1 else 0
        if page[start : start + 1] == TABLE_PAGES[0]:
            first, cells = start + 12, int.from_bytes(page[start + 3 : start + 5])
            places = [int.from_bytes(page[at : at + 2]) for at in range(first, min(first + 2 * cells, PAGE), 2)]
            children |= {int.from_bytes(page[at : at + 4]) for at in (start + 8, *places)}
    return children


def _fits(source: sqlite3.Connection, table: str, columns: Sequence[Any], added: Collection[Any]) -> bool:
    """Whether most of the first rows have values of the columns' types. Old rows lack what was added."""
    may_lack = [not one["notnull"] or (table, one["name"]) in added for one in columns]
    fitting = list[bool]()
    with suppress(*UNREADABLE):
        for row in source.execute(f"SELECT * FROM {table} LIMIT {SAMPLE}"):
            each = zip(row, columns, may_lack, strict=True)
            fitting.append(all((v is None and lacks) or isinstance(v, KINDS[one["type"]]) for v, one, lacks in each))
    return sum(fitting) >= len(fitting) / 2


def _in_order(declared: str, ours: Sequence[Any]) -> list[Any]:
    """Those of our columns that a damaged declaration names, in its order; [] if it names others, too.

    Columns that were added to a ledger of an earlier version stand at the end. One character of each may be wrong.
    """
    text = re.sub(r"[\s(]", " ", declared)
    found, free = dict[int, Any](), [True] * len(text)
    for wrong in (0, 1):
        for column in ours:
            words = f" {column['name']} {column['type']}"
            places = range(0 if column not in found.values() else len(text), len(text) - len(words) + 1)
            for at in places:
                part = slice(at, at + len(words))
                if all(free[part]) and sum(map(str.__ne__, words, text[part])) == wrong:
                    found[at], free[part] = column, [False] * len(words)
                    break
    known = len(re.findall(r"\b(?:TEXT|REAL|INTEGER)\b", text)) <= len(found)
    return [found[at] for at in sorted(found)] if known else []
