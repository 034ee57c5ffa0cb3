"""The store: what goes in comes out, checked; nothing half-written is ever seen; no path comes from a name."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merging.errors import HomeUnusable, InvalidRequest, MergescopeError
from merging.jobs.ledger.store import Store


@given(data=st.binary(max_size=2_000))
def test_what_goes_in_comes_out(data, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    name = store.put(data)
    assert name == hashlib.sha256(data).hexdigest()
    assert store.get(name) == data
    assert store.put(data) == name
    assert store.size() == len(data)
    store.delete(name)
    assert not store.has(name)
    with pytest.raises(MergescopeError, match="no longer in the store"):
        store.get(name)


def test_a_damaged_file_is_found_on_reading_and_removed(tmp_path):
    store = Store(tmp_path)
    name = store.put(b"weights")
    store.path(name).write_bytes(b"wEights")
    with pytest.raises(MergescopeError, match="damaged"):
        store.get(name)
    assert not store.has(name)
    assert store.get(store.put(b"weights")) == b"weights"


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 63, "A" * 64, "/" * 64, "a" * 62 + "/x"])
def test_no_path_comes_from_a_name(tmp_path, name):
    with pytest.raises(InvalidRequest):
        Store(tmp_path).get(name)


def test_a_full_store_refuses_in_words(tmp_path):
    store = Store(tmp_path, limit=10)
    store.put(b"123456")
    with pytest.raises(InvalidRequest, match="store is full"):
        store.put(b"abcdef")
    assert store.size() == 6


def test_many_writers_of_one_content_leave_one_whole_file(tmp_path):
    store, data = Store(tmp_path), os.urandom(200_000)
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(store.put, [data] * 32))
    assert len(names) == 1
    assert store.get(names.pop()) == data
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [store.path(store.put(data))]


def test_a_writer_that_is_killed_leaves_no_half_file_under_a_name(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; from merging.jobs.ledger.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "while True: store.put(os.urandom(300_000))"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    deadline = time.monotonic() + 10
    while len(list(tmp_path.glob("??/*"))) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    whole = [path for path in tmp_path.glob("??/*") if path.suffix == ""]
    assert len(whole) >= 10
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in whole)


def test_a_file_in_the_way_of_the_store_is_told_in_words(tmp_path):
    store = Store(tmp_path / "store")
    sha256 = store.put(b"some bytes")
    store.delete(sha256)
    store.path(sha256).mkdir()
    with pytest.raises(MergescopeError, match="cannot be read"):
        store.get(sha256)
    (tmp_path / "closed").write_text("a file")
    closed = Store(tmp_path / "closed")
    with pytest.raises(HomeUnusable, match="a file is in its way"):
        closed.put(b"some bytes")
    with pytest.raises(MergescopeError):
        closed.get(sha256)
