"""The line before the reading processes, their clock, and paths that are no checkpoint files."""

import json
import os
import threading
import time

import pytest

from merging.errors import CheckpointError, DataUnavailable
from merging.zoo import disposable
from merging.zoo.checkpoints import checkpoint, sandbox
from merging.zoo.checkpoints.reading import opening
from merging.zoo.checkpoints.sliced_checkpoint import open_sliced
from merging.zoo.datasets.convert import convert_images

READER = """
import json, sys, time
from pathlib import Path
from merging.zoo.disposable import answer_with, limit_process
folder = Path(sys.argv[1])
order = json.loads((folder / "order.json").read_text())
limit_process(200_000_000, order["seconds"])
begin = time.time()
while order["busy"] or time.time() < begin + order["sleep"]:
    if not order["busy"]:
        time.sleep(0.01)
(folder / "times.json").write_text(json.dumps([begin, time.time()]))
"""
posix = pytest.mark.skipif(os.name == "nt", reason="limits and files of POSIX")


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Run a process that sleeps, or works without end; gives the folder."""
    (tmp_path / "slow_reader.py").write_text(READER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(name, *, sleep=0.0, busy=False, seconds=60, waiting=disposable.in_silence, person=""):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "order.json").write_text(json.dumps({"sleep": sleep, "busy": busy, "seconds": seconds}))
        late, dead = CheckpointError("late"), CheckpointError("dead")
        disposable.run_disposable("slow_reader", folder, seconds, late, dead, waiting, person)
        return json.loads((folder / "times.json").read_text())

    return run


def test_two_run_at_once_and_the_others_are_told_how_many_go_first(reader, monkeypatch):
    monkeypatch.setattr(disposable, "AT_ONCE", 2)
    spans, told = {}, {number: [] for number in range(5)}

    def ask(number):
        spans[number] = reader(f"{number}", sleep=0.5, waiting=told[number].append)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)  # so that it is known who was first
    for thread in threads:
        thread.join()
    assert [told[number][0] if told[number] else 0 for number in range(5)] == [0, 0, 1, 2, 3]
    assert all(sorted(words, reverse=True) == words for words in told.values())
    for moment, _ in spans.values():
        assert sum(begin <= moment < end for begin, end in spans.values()) <= 2
    assert [number for number, _ in sorted(spans.items(), key=lambda one: one[1][0])][2:] == [2, 3, 4]


def test_nobody_waits_behind_all_files_of_somebody_else(reader, monkeypatch):
    monkeypatch.setattr(disposable, "AT_ONCE", 1)
    spans = {}

    def ask(name, person):
        spans[name] = reader(name, sleep=0.3, person=person)

    people = [("eve 0", "eve"), ("eve 1", "eve"), ("eve 2", "eve"), ("bob 0", "bob"), ("bob 1", "bob")]
    threads = [threading.Thread(target=ask, args=one) for one in people]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert sorted(spans, key=spans.get) == ["eve 0", "bob 0", "eve 1", "bob 1", "eve 2"]


def test_who_leaves_the_line_holds_nobody_up(reader, monkeypatch):
    monkeypatch.setattr(disposable, "AT_ONCE", 1)
    first = threading.Thread(target=reader, args=("first",), kwargs={"sleep": 0.7})
    first.start()
    time.sleep(0.1)

    def leave(before):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reader("second", waiting=leave)
    first.join()
    told = []
    reader("third", waiting=told.append)
    assert told == []


@posix
def test_the_processor_s_time_is_counted_and_not_the_clock(reader):
    begin, end = reader("slow", sleep=1.5, seconds=1)
    assert end - begin > 1.4
    with pytest.raises(CheckpointError, match="late"):
        reader("busy", busy=True, seconds=1)


@posix
def test_one_that_waits_for_ever_is_ended_by_the_clock(reader, monkeypatch):
    monkeypatch.setattr(disposable, "PATIENCE", 1)
    with pytest.raises(CheckpointError, match="late"):
        reader("waits", sleep=60, seconds=1)


def hostile_paths(tmp_path):
    """Name -> a path that is no checkpoint file, and what is said of it."""
    (tmp_path / "folder").mkdir()
    made = {
        "missing": (tmp_path / "none.pt", "cannot be read: No such file"),
        "a file as a folder": (tmp_path / "folder.pt" / "x", "cannot be read"),
        "a NUL": (tmp_path / "a\0b.pt", "is not a valid path"),
        "too long": (tmp_path / ("x" * 5000), "cannot be read"),
    }
    (tmp_path / "folder.pt").write_bytes(b"x")
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe.pt")
        made["a pipe"] = (tmp_path / "pipe.pt", "a device, a pipe or a socket")
        made["a device"] = (tmp_path.__class__("/dev/zero"), "a device, a pipe or a socket")
        (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
        made["a loop"] = (tmp_path / "loop.pt", "cannot be read")
    if os.name == "posix" and os.geteuid() != 0:
        (tmp_path / "closed.pt").write_bytes(b"x")
        (tmp_path / "closed.pt").chmod(0)
        made["forbidden"] = (tmp_path / "closed.pt", "cannot be read: Permission denied")
    return made


READERS = {
    "load_checkpoint": checkpoint.load_checkpoint,
    "sandbox.read": sandbox.read_networks,
    "sandbox.convert": sandbox.convert,
    "content_sha256": checkpoint.content_sha256,
    "open_sliced": open_sliced,
}


@pytest.mark.parametrize("name", READERS)
def test_a_path_that_is_no_checkpoint_file_is_refused_at_once_in_words(name, tmp_path):
    for kind, (path, said) in hostile_paths(tmp_path).items():
        begin = time.monotonic()
        with pytest.raises(CheckpointError, match=said):
            READERS[name](path)
        assert time.monotonic() - begin < 5, kind


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder, not a file"):
        sandbox.convert(tmp_path)


@posix
def test_a_pipe_is_no_images(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataUnavailable, match="a device, a pipe or a socket"):
        convert_images(tmp_path / "pipe", tmp_path)


@pytest.mark.parametrize(("change", "kept"), [("ab", 1_000), ("wb", None)])
def test_a_file_that_changes_is_read_as_far_as_it_was_or_refused(tmp_path, monkeypatch, change, kept):
    path, look = tmp_path / "file", os.fstat
    path.write_bytes(b"x" * 1_000)

    def look_and_change(handle):
        found = look(handle)
        with path.open(change) as file:
            file.write(b"y" * 500)
        return found

    monkeypatch.setattr(opening.os, "fstat", look_and_change)
    if kept is None:
        with pytest.raises(CheckpointError, match="changed while it was read"):
            opening.read_whole(path)
    else:
        assert opening.read_whole(path) == b"x" * kept
