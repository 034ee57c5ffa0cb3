"""Damage to the header of a ledger's file, to its list of tables, or to the header of its log costs no row."""

from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from merging.errors import HomeUnusable
from merging.jobs.ledger.connection import close_spares
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.rescue.headers import HEADER, PAGE
from merging.paths import ROOT
from merging.teaching.classes import find_class, open_class
from tests.jobs.making import merge_request

MANY = 20  # jobs


@pytest.fixture
def ids(tmp_path):
    """Ids of the jobs of a ledger that its program has closed."""
    ledger = Ledger(tmp_path)
    jobs = {ledger.submit(merge_request(seed), f"owner {seed}").id for seed in range(MANY)}
    close_spares()
    with closing(sqlite3.connect(ledger.file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # all rows stand in the file
    assert not (tmp_path / "ledger.sqlite-wal").exists()
    return jobs


@pytest.mark.parametrize("at", [0, 5, 16, 17, 18, 19, 22, 28, 29, 30, 31, 47, 59, 60, 61, 62, 63])
@pytest.mark.parametrize("bits", [0x01, 0x11, 0x80])
def test_a_damaged_header_costs_no_row(tmp_path, ids, at, bits):
    file = tmp_path / "ledger.sqlite"
    data = bytearray(file.read_bytes())
    data[at] ^= bits
    file.write_bytes(data)
    assert {job.id for job in Ledger(tmp_path).jobs(limit=10 * MANY)} == ids


def list_pages(data: bytes) -> list[int]:
    """Numbers of the pages that hold the list of tables: page 1, and those to which it points."""
    places = [int.from_bytes(data[at : at + 2]) for at in range(112, 112 + 2 * int.from_bytes(data[103:105]), 2)]
    return [1, *(int.from_bytes(data[at : at + 4]) for at in (*places, 108))]


@pytest.mark.parametrize("logged", [False, True], ids=["in the file", "in the log"])
def test_a_lost_page_of_the_list_of_tables_costs_no_row(tmp_path, ids, logged):
    ledger, file, wal = Ledger(tmp_path), tmp_path / "ledger.sqlite", tmp_path / "ledger.sqlite-wal"
    asked = ids | {ledger.submit(merge_request(seed), "ann").id for seed in range(MANY, 2 * MANY)}
    code = open_class(ledger, "ann", "A class", ["naive"])[0].code
    if not logged:
        close_spares()
    data, log = file.read_bytes(), wal.read_bytes() if wal.exists() else b""
    pages = list_pages(data)
    assert len(pages) > 2 and bool(log) == logged
    for page in pages:
        start, end = (page - 1) * PAGE + (HEADER if page == 1 else 0), page * PAGE
        home = tmp_path / f"home {page}"
        home.mkdir()
        (home / "ledger.sqlite").write_bytes(data[:start] + bytes(end - start) + data[end:])  # a lost page
        if log:
            (home / "ledger.sqlite-wal").write_bytes(log)
        found = Ledger(home)
        assert {job.id for job in found.jobs(limit=10 * MANY)} == asked, page
        assert find_class(found, code) is not None, page


def test_a_rescue_that_fails_midway_is_done_at_the_next_start(tmp_path, ids, monkeypatch):
    file = tmp_path / "ledger.sqlite"
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("merging.jobs.ledger.schema.take_over", full)
        with pytest.raises(HomeUnusable, match="No space left"):
            Ledger(tmp_path)
    assert file.read_bytes() == data
    assert {job.id for job in Ledger(tmp_path).jobs(limit=10 * MANY)} == ids
    assert {path.name for path in tmp_path.glob("*.sqlite")} == {"ledger.sqlite", "ledger.damaged.sqlite"}


def test_the_app_and_its_dispatcher_rescue_a_ledger_once(tmp_path, ids):
    file = tmp_path / "ledger.sqlite"
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)
    program = (
        "import sys; from pathlib import Path; from merging.jobs.ledger.ledger import Ledger;"
        "print(len(Ledger(Path(sys.argv[1])).jobs()))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0].strip() for process in started] == [str(MANY)] * 4
    assert {path.name for path in tmp_path.glob("*.sqlite")} == {"ledger.sqlite", "ledger.damaged.sqlite"}


def test_a_program_that_was_killed_between_two_names_finds_its_rows(tmp_path, ids):
    (tmp_path / "ledger.sqlite").rename(tmp_path / "ledger.rescued.sqlite")
    assert {job.id for job in Ledger(tmp_path).jobs(limit=10 * MANY)} == ids
    assert not (tmp_path / "ledger.rescued.sqlite").exists()


@pytest.mark.parametrize("at", [0, 3, 5, 9, 13, 17, 20, 24, 31])
@pytest.mark.parametrize("bits", [1, 0x10])
def test_a_damaged_header_of_the_log_costs_no_row(tmp_path, at, bits):
    """The rows that a killed program had written stand in the log only."""
    program = (
        "import os, sys; from pathlib import Path; from merging.jobs.ledger.ledger import Ledger;"
        "from tests.jobs.making import merge_request;"
        "ledger = Ledger(Path(sys.argv[1])); [ledger.submit(merge_request(seed), 'ann') for seed in range(3)];"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=True)
    log = tmp_path / "ledger.sqlite-wal"
    data = bytearray(log.read_bytes())
    data[at] ^= bits
    log.write_bytes(data)
    assert len(Ledger(tmp_path).jobs()) == 3
    assert [path.read_bytes() for path in tmp_path.glob("ledger.damaged*-wal")] == [data]
