"""Uploads are counted before they are taken, and until they are really gone."""

import asyncio
from types import SimpleNamespace

import pytest
from starlette.requests import Request

from merging.jobs.limits import Limits
from tests.pages.test_shell import ask
from ui.shell import uploads
from ui.shell.middleware import COOKIE
from ui.shell.uploads import Held, Uploads


async def accepts(scope, receive, send):
    """Stand for Streamlit, which takes the file."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_files_are_counted_before_they_are_taken():
    limits = Limits(upload_mb=100, visitor_files=2, files_mb=350)
    gate = Uploads(None, Held(), lambda: limits)

    def send(session, file, megabytes, method="PUT", status=204):
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        gate.app = app
        size = None if megabytes is None else int(megabytes * 1e6)
        return ask(gate, f"/_stcore/upload_file/{session}/{file}", method=method, size=size)

    assert send("a", "1", 100)[0] == 204
    assert send("a", "2", 90)[0] == 204
    status, _, why = send("a", "3", 20)
    assert status == 413 and "one visitor" in why
    assert send("a", "2", None, "DELETE", status=403)[0] == 403  # without the visitor's token nothing was deleted
    assert send("a", "2", 1, status=403)[0] == 403  # nor replaced
    assert send("a", "3", 20)[0] == 413
    assert send("a", "2", None, "DELETE")[0] == 204
    assert send("a", "3", 20)[0] == 204
    assert gate.held.of("a") == 120_000_000  # nothing is left of what was refused, or has arrived
    assert send("b", "1", 100, status=400)[0] == 400  # Streamlit did not take it, and it does not count
    assert send("b", "1", 190)[0] == 204
    status, _, why = send("c", "1", 50)
    assert status == 413 and "Others are uploading" in why
    assert send("c", "1", None)[0] == 413
    assert send("c", "1", 40)[0] == 204


def test_an_upload_that_stalls_or_is_left_holds_no_room(monkeypatch):
    monkeypatch.setattr(uploads, "STALL", 0.05)
    gate, sent = Uploads(None, Held(), Limits), []

    async def app(scope, receive, send):  # reads the body as Streamlit does
        async for _ in Request(scope, receive).stream():
            pass
        await accepts(scope, receive, send)

    async def upload(*parts, wait=0.0):
        left = list(parts)

        async def receive():
            await asyncio.sleep(wait if left else 60)
            return left.pop(0)

        async def send(message):
            sent.append(message)

        headers = [(b"content-length", b"50")]
        path = "/_stcore/upload_file/a/1"
        await gate({"type": "http", "method": "PUT", "path": path, "headers": headers}, receive, send)
        status = [message["status"] for message in sent if message["type"] == "http.response.start"]
        sent.clear()
        return status

    gate.app = app
    half = {"type": "http.request", "body": b"x" * 25, "more_body": True}
    whole = {"type": "http.request", "body": b"x" * 25, "more_body": False}
    assert asyncio.run(upload(half)) == [408] and gate.held.total() == 0
    assert asyncio.run(upload(half, {"type": "http.disconnect"})) == [] and gate.held.total() == 0
    assert asyncio.run(upload(half, whole)) == [204] and gate.held.total() == 50
    monkeypatch.setattr(uploads, "SLOWEST", 1e9)
    assert asyncio.run(upload(*[half] * 50, wait=0.01)) == [408] and gate.held.total() == 50  # too slow on average


def test_tabs_of_one_visitor_are_counted_together():
    gate = Uploads(accepts, Held(), lambda: Limits(upload_mb=100, visitor_files=2, files_mb=1000))

    def send(session, cookie):
        return ask(gate, f"/_stcore/upload_file/{session}/1", method="PUT", size=90_000_000, cookie=cookie)[0]

    eve, bob = (f"{COOKIE}={letter * 32}" for letter in "eb")
    assert [send("tab 1", eve), send("tab 2", eve), send("tab 3", eve)] == [204, 204, 413]
    assert send("tab 4", bob) == 204


def test_one_address_leaves_half_of_the_memory_to_others_whatever_cookies_it_sends():
    gate = Uploads(accepts, Held(), lambda: Limits(upload_mb=100, visitor_files=4, files_mb=1000))
    taken = []
    for number in range(12):
        for session in ("one tab", f"tab {number}"):
            path, cookie = f"/_stcore/upload_file/{session}/{number}", f"{COOKIE}={number:032x}"
            status = ask(gate, path, method="PUT", size=90_000_000, cookie=cookie, client="198.51.100.7")[0]
            taken += [status] if status == 204 else []
    assert len(taken) == 5
    path = "/_stcore/upload_file/bob/1"
    assert ask(gate, path, method="PUT", size=90_000_000, client="203.0.113.9")[0] == 204


def test_files_of_who_has_left_are_let_go_when_their_time_is_over_or_room_is_needed(monkeypatch):
    limits, there, removed = Limits(upload_mb=100, visitor_files=2, files_mb=250), {"a", "b"}, []
    files = SimpleNamespace(remove_session_files=removed.append)
    here = SimpleNamespace(is_active_session=there.__contains__, uploaded_file_mgr=files)
    monkeypatch.setattr(uploads.runtime, "exists", lambda: True)
    monkeypatch.setattr(uploads.runtime, "get_instance", lambda: here)
    held = Held()
    gate = Uploads(None, held, lambda: limits)
    for session in "ab":
        held.add(session, "1", 100_000_000)
    there.remove("a")
    held.sweep()
    assert (held.total(), removed) == (200_000_000, [])  # who comes back within the window finds them
    assert gate._refusal("b", 50_000_000) == ""
    assert gate._refusal("b", 90_000_000) == "" and removed == ["a"]
    there.remove("b")
    held.sweep(window=0.0)
    assert (held.total(), removed) == (0, ["a", "b"])


@pytest.mark.parametrize("length", [b"5", b"", b"-1", b"+5", "٣".encode(), b"9" * 20])
@pytest.mark.parametrize("chunked", [True, False])
def test_only_a_length_that_is_told_once_and_plainly_is_believed(length, chunked):
    headers = [(b"content-length", length)] + ([(b"transfer-encoding", b"chunked")] if chunked else [])
    size = uploads._size(uploads.Headers(scope={"headers": headers}))
    assert size == (5 if length == b"5" and not chunked else None)
