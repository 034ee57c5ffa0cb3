"""A download is there when the browser comes for it, however many pages run in between."""

import os
import subprocess
import sys

import pytest
from streamlit.runtime.media_file_manager import MediaFileManager, MediaFileStorageError

from merging.paths import ROOT
from ui.shell import lasting
from ui.shell.lasting import LastingFiles

RERUNS = 5  # ends of runs of other people's pages between the click and the download

SERVED = """
from starlette.testclient import TestClient
from streamlit.runtime import get_instance
import app
with TestClient(app.app) as browser:
    files = get_instance().media_file_mgr
    url = files.execute_deferred(files.add_deferred(lambda: "nickname", "text/csv", "here", file_name="class.csv"))
    for _ in range(5):
        files.remove_orphaned_files()
    answer = browser.get(url)
    print(answer.status_code, answer.text, answer.headers["content-disposition"])
"""


def click(files, content="nickname"):
    """Return the address of a download that is made for a click."""
    return files.execute_deferred(files.add_deferred(lambda: content, "text/csv", "here", file_name="class.csv"))


def content_at(storage, url):
    return storage.get_file(url.rsplit("/", 1)[1]).content


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(lasting.time, "monotonic", lambda: now[0])
    return now


def test_the_app_serves_a_download_after_other_pages_ran(tmp_path):
    env = {**os.environ, "MERGESCOPE_DISPATCHER": "none", "MERGESCOPE_STORE": str(tmp_path)}
    told = subprocess.run([sys.executable, "-c", SERVED], cwd=ROOT, env=env, capture_output=True, text=True)
    assert told.stdout.split("\n")[0] == '200 nickname attachment; filename="class.csv"', told.stderr


def test_a_download_stays_a_minute_and_goes_then(clock):
    storage = LastingFiles("/media")
    files = MediaFileManager(storage)
    url = click(files)
    for _ in range(RERUNS):
        files.remove_orphaned_files()
    assert content_at(storage, url) == b"nickname"
    clock[0] += lasting.KEPT + 1
    other = click(files, "other")
    for _ in range(RERUNS):
        files.remove_orphaned_files()
    with pytest.raises(MediaFileStorageError):
        content_at(storage, url)
    assert content_at(storage, other) == b"other"


def test_the_same_download_made_again_lasts_anew(clock):
    storage = LastingFiles("/media")
    files = MediaFileManager(storage)
    for _ in range(3):
        url = click(files)
        for _ in range(RERUNS):
            files.remove_orphaned_files()
        clock[0] += lasting.KEPT * 0.9
    assert content_at(storage, url) == b"nickname"


def test_large_downloads_that_differ_anywhere_are_two_files():
    storage = LastingFiles("/media")
    files = MediaFileManager(storage)
    first = bytearray(3_000_000)
    second = first.copy()
    second[200_000] = 1
    urls = [click(files, bytes(one)) for one in (first, second)]
    assert [content_at(storage, url) for url in urls] == [first, second]


def test_the_oldest_go_first_when_there_are_many(monkeypatch):
    monkeypatch.setattr(lasting, "MOST", 25)
    storage = LastingFiles("/media")
    files = MediaFileManager(storage)
    urls = []
    for number in range(4):
        urls.append(click(files, f"{number}" * 10))
        for _ in range(RERUNS):
            files.remove_orphaned_files()
    assert [content_at(storage, url) for url in urls[2:]] == [b"2" * 10, b"3" * 10]
    for url in urls[:2]:
        with pytest.raises(MediaFileStorageError):
            content_at(storage, url)


def test_pictures_go_at_once():
    storage = LastingFiles("/media")
    files = MediaFileManager(storage)
    url = files.add(b"picture", "image/png", "here")
    files.clear_session_refs()
    files.remove_orphaned_files()
    with pytest.raises(MediaFileStorageError):
        content_at(storage, url)
