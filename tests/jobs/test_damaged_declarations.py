"""Damaged declarations of the ledger's tables: SQLite reads no row of such a table, and yet none is lost."""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from merging.jobs.ledger.connection import close_spares, connect
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.rescue.headers import HEADER, PAGE
from merging.jobs.ledger.rescue.mending import KEYS, NUMBER_KEYS, NUMBERS
from merging.jobs.ledger.rescue.tables import TAKEN_OVER
from merging.jobs.ledger.schema import _ADDED
from tests.jobs.making import merge_request
from tests.jobs.test_damaged_headers import list_pages

FLIPS = 2  # of each table, per age of the ledger
ROWS = 3  # of each table
Rows = dict[str, set[tuple[object, ...]]]


def as_new(db: sqlite3.Connection) -> None:
    """Leave the tables as this version makes them."""


def as_grown(db: sqlite3.Connection) -> None:
    """Put columns that were added since format 1 behind the others, as in a ledger that has grown with the program."""
    as_old(db)
    for (table, column), declared in _ADDED.items():
        db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {declared}")


def as_old(db: sqlite3.Connection) -> None:
    """Take the columns away that were added since format 1."""
    for table, column in _ADDED:
        db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")


def rows_of(file: Path) -> Rows:
    """Table -> its rows, with the columns that were added since format 1 behind the others."""
    added = list(_ADDED)
    with connect(file) as db:
        columns = {t: [row["name"] for row in db.execute(f"PRAGMA table_info({t})")] for t in TAKEN_OVER}
        places = {(t, one): added.index((t, one)) if (t, one) in _ADDED else -1 for t in columns for one in columns[t]}
        names = {t: ", ".join(sorted(every, key=lambda one, t=t: places[t, one])) for t, every in columns.items()}
        return {t: {tuple(row) for row in db.execute(f"SELECT {names[t]} FROM {t}")} for t in TAKEN_OVER}


def fill(ledger: Ledger) -> None:
    """Put ROWS rows into every table, whatever its columns are."""
    jobs = [ledger.submit(merge_request(seed=seed), f"owner {seed}").id for seed in range(ROWS)]
    with connect(ledger.file) as db:
        for table in TAKEN_OVER[2:]:  # after jobs and owners
            columns = db.execute(f"PRAGMA table_info({table})").fetchall()
            for number in range(ROWS):
                values = {"TEXT": f"text {number}", "INTEGER": number, "REAL": time.time() - number}
                row = [jobs[number] if one["name"] == "job" else values[one["type"]] for one in columns]
                db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


@pytest.fixture(scope="module", params=[as_new, as_grown, as_old])
def filled(request, tmp_path_factory) -> tuple[bytes, Rows]:
    """A ledger's file, and what is in it."""
    ledger = Ledger(tmp_path_factory.mktemp("filled"))
    steps = [lambda: fill(ledger), lambda: change(ledger, request.param)]
    for step in reversed(steps) if request.param is as_grown else steps:  # rows that came after the columns have them
        step()
    close_spares()
    data = ledger.file.read_bytes()
    kept = rows_of(Ledger(ledger.file.parent).file)  # as a program finds them in the whole file
    close_spares()
    assert all(len(rows) >= ROWS for rows in kept.values())
    return data, kept


def change(ledger: Ledger, how: Callable[[sqlite3.Connection], None]) -> None:
    with connect(ledger.file) as db:
        how(db)


def places(data: bytes, table: str) -> list[int]:
    """Where the texts of a table's entry in the schema stand: its kind, its names and its declaration."""
    start = data.index(f"table{table}{table}".encode())
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(data[:18] + b"\1\1" + data[20:])  # no file of changes beside it
        (declared,) = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    at = data.index(declared.encode(), start)
    return [*range(start, start + len(f"table{table}{table}")), *range(at, at + len(declared))]


def test_every_table_is_taken_over_but_those_of_running_processes(tmp_path):
    with connect(Ledger(tmp_path).file) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables - set(TAKEN_OVER) == {"dispatchers", "workers"}


@pytest.mark.parametrize("table", TAKEN_OVER)
def test_a_flipped_bit_in_a_declaration_costs_no_row(tmp_path, filled, table, monkeypatch):
    monkeypatch.setattr(logging.getLogger("merging"), "disabled", True)
    data, kept = filled
    chance = random.Random(table)
    for number in range(FLIPS):
        broken, at, bit = bytearray(data), chance.choice(places(data, table)), chance.randrange(8)
        broken[at] ^= 1 << bit
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "ledger.sqlite").write_bytes(broken)
        found = rows_of(Ledger(folder).file)
        close_spares()
        assert found == kept, f"{data[at - 20 : at + 20]!r} -> {broken[at - 20 : at + 20]!r}"


def test_a_damaged_page_of_the_list_of_tables_costs_no_row(tmp_path, filled, monkeypatch):
    monkeypatch.setattr(logging.getLogger("merging"), "disabled", True)
    data, kept = filled
    chance = random.Random(1)
    for page in list_pages(data):
        start = (page - 1) * PAGE + (HEADER if page == 1 else 0)
        flips = [start + chance.randrange(40) for _ in range(6)] + [chance.randrange(start, page * PAGE)]
        for at in (*flips, None):
            broken = bytearray(data)
            if at is None:  # a lost page
                broken[start : page * PAGE] = bytes(page * PAGE - start)
            else:
                broken[at] ^= 1 << chance.randrange(8)
            folder = tmp_path / f"{page} {at}"
            folder.mkdir()
            (folder / "ledger.sqlite").write_bytes(broken)
            found = rows_of(Ledger(folder).file)
            close_spares()
            assert found == kept, (page, at)


def test_a_row_that_lacks_a_value_is_kept_and_one_that_is_refused_is_counted(tmp_path, caplog):
    ledger = Ledger(tmp_path)
    fill(ledger)
    with connect(ledger.file) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'title TEXT NOT NULL', 'title TEXT') WHERE name = 'classes'"
        )
    close_spares()
    with connect(ledger.file) as db:
        db.execute("UPDATE classes SET title = NULL WHERE code = 'text 0'")
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("DELETE FROM classes WHERE code = 'text 1'")
    close_spares()
    kept = rows_of(Ledger(tmp_path).file)
    assert {row[:2] for row in kept["classes"]} == {("text 0", ""), ("text 2", "text 2")}
    assert len(kept["students"]) == len(kept["teachers"]) == 2 and len(kept["answers"]) == ROWS
    assert "1 rows of the table students are not copied" in caplog.text


def test_every_number_of_every_table_is_mended(tmp_path):
    with connect(Ledger(tmp_path).file) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        numeric = {
            (table, row["name"])
            for table in tables
            for row in db.execute(f"PRAGMA table_info({table})")
            if row["type"] != "TEXT"
        }
    elsewhere = {("jobs", "private"), ("jobs", "accuracy"), ("jobs", "barrier")}
    assert numeric - elsewhere == {(table, column) for table, columns in NUMBERS.items() for column in columns}


@pytest.mark.parametrize("value", [-127, 1e300, "x", b"\xff"])
def test_a_damaged_value_in_any_column_keeps_the_program_from_nothing(tmp_path, value):
    """Two damaged rows with one key must not become equal. Declarations that refuse the value are not damaged."""
    whole = Ledger(tmp_path / "whole")
    fill(whole)
    with connect(whole.file) as db:
        columns = [(t, row["name"]) for t in TAKEN_OVER for row in db.execute(f"PRAGMA table_info({t})")]
        for table, _ in NUMBER_KEYS:  # rows whose keys differ only in the number
            for key in KEYS[table]:
                db.execute(f"UPDATE {table} SET {key} = (SELECT MIN({key}) FROM {table})")
    close_spares()
    data = whole.file.read_bytes()
    for table, column in columns:
        file = tmp_path / "damaged" / "ledger.sqlite"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        with connect(file) as db, suppress(sqlite3.IntegrityError):
            last = f"SELECT rowid FROM {table} ORDER BY rowid DESC LIMIT 1"
            db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ({last})", (value,))
        close_spares()
        rows = rows_of(Ledger(file.parent).file)
        assert {name for name, found in rows.items() if len(found) < ROWS - 1} <= {"owners", "students"}
        for path in file.parent.glob("ledger*"):
            path.unlink()
