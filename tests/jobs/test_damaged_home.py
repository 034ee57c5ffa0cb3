"""Folders and ledgers that are damaged, closed, or in the way: said in words, nothing lost, nothing overwritten."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from merging.errors import HomeUnusable
from merging.jobs.ledger.connection import close_spares, connect
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.ledger import Ledger
from merging.paths import ROOT
from tests.jobs.making import ALL, SAVED, merge_request, take

MANY = 300
posix = pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with a ledger of many jobs, of which the first is done and the second taken."""
    folder = tmp_path_factory.mktemp("whole")
    ledger = Ledger(folder)
    for seed in range(MANY):
        ledger.submit(merge_request(seed=seed), f"owner {seed}")
    desk = Desk(ledger)
    desk.finish(take(desk), {"report": SAVED})
    take(desk)
    close_spares()  # the program ends
    return folder


@pytest.fixture
def ids(whole, tmp_path) -> set[str]:
    """The ids of a copy's jobs; the copy lies in tmp_path."""
    shutil.copy(whole / "ledger.sqlite", tmp_path)
    shutil.copytree(whole / "store", tmp_path / "store")
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        return {id for (id,) in db.execute("SELECT id FROM jobs")}


def cut(file: Path) -> None:
    """Take away the second half."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def blotted(file: Path) -> None:
    """Overwrite pages in the middle."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20_000] = b"\xff" * 20_000
    file.write_bytes(data)


def other(file: Path) -> None:
    """Another program's file."""
    file.write_bytes(b"this is no database at all" * 500)


def sprinkled(seed: int):
    """Random bytes at 40 random places, where SQLite need not see it, but not in the first page."""

    def damage(file: Path) -> None:
        data, chance = bytearray(file.read_bytes()), random.Random(seed)
        for _ in range(40):
            data[chance.randrange(4096, len(data))] = chance.randrange(256)
        file.write_bytes(data)

    return damage


@pytest.mark.parametrize("seed", range(6))
def test_a_ledger_with_random_damage_never_stops_the_program(tmp_path, ids, seed):
    sprinkled(seed)(tmp_path / "ledger.sqlite")
    ledger = Ledger(tmp_path)
    kept = ledger.jobs(limit=10 * MANY)
    assert len({job.id for job in kept} & ids) > MANY // 2  # each place spoils one row, or a page of a few
    desk = Desk(ledger)
    taken = [desk.claim(ALL) for _ in range(5)]
    assert any(taken)
    ledger.submit(merge_request(seed=MANY), "ann")
    assert ledger.models() == () and ledger.workers() == ()


@pytest.mark.parametrize("damage", [cut, blotted, other])
def test_a_damaged_ledger_is_set_aside_and_what_can_be_read_is_kept(tmp_path, ids, damage):
    damage(tmp_path / "ledger.sqlite")
    broken = (tmp_path / "ledger.sqlite").read_bytes()
    ledger = Ledger(tmp_path)
    (aside,) = tmp_path.glob("ledger.damaged*.sqlite")
    assert aside.read_bytes() == broken
    kept = ledger.jobs(limit=10 * MANY)
    assert {job.id for job in kept} <= ids
    assert kept or damage is not blotted  # of its pages most are whole
    assert {job.state for job in kept} <= {"queued", "done"}  # who had taken one is not known
    assert ledger.submit(merge_request(seed=MANY), "ann").state == "queued"
    with connect(ledger.file) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_the_second_damaged_ledger_does_not_overwrite_the_first(tmp_path):
    for number in range(3):
        Ledger(tmp_path)
        close_spares()
        (tmp_path / "ledger.sqlite").write_bytes(b"damage %d" % number * 1000)
    Ledger(tmp_path)
    aside = [path.read_bytes() for path in tmp_path.glob("ledger.damaged*.sqlite")]
    assert sorted(aside) == [b"damage %d" % number * 1000 for number in range(3)]


def test_one_bad_row_hides_no_other(tmp_path):
    ledger = Ledger(tmp_path)
    good, bad = (ledger.submit(merge_request(seed=seed), "ann") for seed in (1, 2))
    for column, value in (("request", "{"), ("request", "[]"), ("error", "{"), ("request", b"\xff\xfe")):
        with connect(ledger.file) as db:
            was = db.execute(f"SELECT {column} FROM jobs WHERE id = ?", (bad.id,)).fetchone()[0]
            db.execute(f"UPDATE jobs SET {column} = ? WHERE id = ?", (value, bad.id))
        assert [job.id for job in ledger.jobs()] == [good.id]
        assert ledger.job(good.id).position in (1, 2)
        assert ledger.job(bad.id) is None
        with connect(ledger.file) as db:
            db.execute(f"UPDATE jobs SET {column} = ? WHERE id = ?", (was, bad.id))
    assert len(ledger.jobs()) == 2


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO models VALUES ('m1', 's', 'o', 0, 1, 'not json', '')",
        "INSERT INTO models VALUES ('m1', 's', 'o', 0, 1, '{}', '')",
        "INSERT INTO models VALUES ('m1', 's', 'o', 0, 1, '[]', '')",
        "INSERT INTO models VALUES ('m1', 's', 'o', 0, 1, '{\"owner\": 5}', '')",
        "INSERT INTO models VALUES ('m1', 's', 'o', 0, 1, x'ff', '')",
        "INSERT INTO owners (job, owner, asked) SELECT id, x'00ff', 0 FROM jobs LIMIT 1",
        "UPDATE jobs SET request = '{}' WHERE id = (SELECT MIN(id) FROM jobs)",
        "UPDATE jobs SET created = 'x' WHERE id = (SELECT MIN(id) FROM jobs)",
        "ALTER TABLE jobs DROP COLUMN title",
        "ALTER TABLE jobs RENAME TO x",
        "CREATE TRIGGER evil BEFORE INSERT ON jobs BEGIN SELECT RAISE(ABORT, 'no'); END",
        "DROP TABLE owners",
        "CREATE VIEW other AS SELECT * FROM jobs",
    ],
)
def test_a_ledger_that_was_changed_by_hand_stops_nothing(tmp_path, ids, change):
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        db.execute(change)
        db.commit()
    ledger = Ledger(tmp_path)
    assert ledger.submit(merge_request(seed=MANY), "ann").state == "queued"
    assert ledger.jobs(limit=10 * MANY) and ledger.models() == ()
    assert Desk(ledger).claim(ALL) is not None
    if "RENAME" not in change:
        assert len({job.id for job in ledger.jobs(limit=10 * MANY)} & ids) >= MANY - 1


def test_names_in_the_file_that_are_no_text_are_damage_too(tmp_path, ids):
    data = (tmp_path / "ledger.sqlite").read_bytes()
    changed = data.replace(b"jobs_by_time", b"jobs\xb9by_time").replace(
        b"CREATE INDEX jobs\xb9", b"CREATE INDXX jobs\xb9"
    )
    (tmp_path / "ledger.sqlite").write_bytes(changed)
    ledger = Ledger(tmp_path)
    assert ledger.submit(merge_request(seed=MANY), "ann").state == "queued"
    assert list(tmp_path.glob("ledger.damaged*"))
    assert ids < {job.id for job in ledger.jobs(limit=10 * MANY)}  # an index is no row


def test_a_home_that_is_a_file_is_said_in_words(tmp_path):
    (tmp_path / "home").write_text("in the way")
    for home in (tmp_path / "home", tmp_path / "home" / "below"):
        with pytest.raises(HomeUnusable, match=r"a file is in its way.*MERGESCOPE_HOME"):
            Ledger(home)


def test_a_ledger_that_is_a_folder_is_said_in_words(tmp_path):
    (tmp_path / "ledger.sqlite").mkdir()
    with pytest.raises(HomeUnusable, match=r"ledger\.sqlite"):
        Ledger(tmp_path)


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_home_that_cannot_be_written_is_said_in_words(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(HomeUnusable, match="Permission denied"):
        Ledger(tmp_path / "home")
    tmp_path.chmod(0o700)


def test_a_full_disk_is_said_in_words(tmp_path, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("merging.jobs.ledger.schema.transaction", full)
    with pytest.raises(HomeUnusable, match=r"database or disk is full.*free space"):
        Ledger(tmp_path)


def test_the_dispatcher_says_it_in_one_line(tmp_path):
    (tmp_path / "home").write_text("in the way")
    command = [sys.executable, "-m", "merging.jobs", "--dispatch", "--home", str(tmp_path / "home")]
    pipe = subprocess.PIPE
    # stdin stays open: at its end the dispatcher ends at once, whatever it was about to say
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stderr=pipe) as dispatcher:
        assert dispatcher.stderr is not None
        errors = dispatcher.stderr.read()
        assert dispatcher.wait(60) == 2
    assert len(errors.strip().splitlines()) == 1
    assert "a file is in its way" in errors


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_nobody_else_reads_the_home_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        ledger = Ledger(tmp_path / "home")
        ledger.store.put(b"content")
    finally:
        os.umask(before)
    assert mode(tmp_path / "home") == 0o700
    assert mode(ledger.file) == 0o600
    (tmp_path / "home").chmod(0o755)  # as an earlier version left it
    ledger.file.chmod(0o644)
    Ledger(tmp_path / "home")
    assert (mode(tmp_path / "home"), mode(ledger.file)) == (0o700, 0o600)


@posix
def test_a_folder_that_holds_other_things_is_not_closed_to_others(tmp_path):
    (tmp_path / "letters").mkdir()
    tmp_path.chmod(0o755)
    ledger = Ledger(tmp_path)
    assert (mode(tmp_path), mode(ledger.file)) == (0o755, 0o600)


def test_a_job_without_an_id_does_not_stop_the_queue(tmp_path):
    ledger = Ledger(tmp_path)
    bad, good = (ledger.submit(merge_request(seed=seed), "ann") for seed in (1, 2))
    with connect(ledger.file) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("UPDATE jobs SET id = NULL WHERE id = ?", (bad.id,))
    close_spares()
    claim = Desk(Ledger(tmp_path)).claim(("merge",))
    assert claim is not None and claim.id == good.id


def test_a_ledger_that_another_program_locks_is_said_in_words(tmp_path, monkeypatch):
    def locked(*_):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr("merging.jobs.ledger.schema.transaction", locked)
    with pytest.raises(HomeUnusable, match=r"database is locked.*End the other program"):
        Ledger(tmp_path)


def test_a_running_job_without_a_start_and_endless_brackets_break_no_list(tmp_path):
    ledger = Ledger(tmp_path)
    job, other = (ledger.submit(merge_request(seed=seed), "ann") for seed in (1, 2))
    with connect(ledger.file) as db:
        db.execute("UPDATE jobs SET state = 'running', started = NULL WHERE id = ?", (job.id,))
        db.execute("UPDATE jobs SET request = ? WHERE id = ?", ("[" * 5_000, other.id))
    assert [one.id for one in ledger.jobs()] == [job.id]
    assert [one.id for one in Ledger(tmp_path).jobs()] == [job.id]


@pytest.mark.parametrize("value", [b"\xff\x00", 7, 1.5])
def test_rows_with_damaged_keys_are_left_out(tmp_path, value):
    ledger = Ledger(tmp_path)
    job = ledger.submit(merge_request(seed=1), "ann")
    desk = Desk(ledger)
    desk.beat()
    with connect(ledger.file) as db:
        db.execute("UPDATE served SET owner = ?", (value,))
        db.execute("UPDATE dispatchers SET seen = ?", (str(value),))
    again = Ledger(tmp_path)
    assert [one.id for one in again.jobs()] == [job.id]
    assert again.submit(merge_request(seed=2), "bob").state == "queued"
    Desk(again).reap(lambda pid, born: True)
