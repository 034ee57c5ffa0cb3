"""Limits on the files that visitors have uploaded but not yet added.

The server keeps these files in memory. Their sizes are counted before they are accepted, and they are freed after the
visitor has left.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from itertools import count

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import runtime

from merging.jobs.ledger.owners import network_of
from merging.jobs.limits import Limits, from_environment
from ui.shell.middleware import COOKIE

UPLOAD = re.compile(r".*/_stcore/upload_file/(?P<session>[^/]+)/(?P<file>[^/]+)")
HERE = ("", "127.0.0.1", "::1")  # this machine, where all visitors have one address
WINDOW = 120.0  # seconds in which a visitor can return to the same session after a broken connection

STALL = 60.0  # seconds without a byte after which an upload is given up, because its size is held for it
SLOWEST = 5_000  # bytes per second that an upload must reach on average after the first STALL seconds


class Held:
    """Bytes of all accepted files that are still in memory, by session and file, and the visitor of each session."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, int]] = {}
        self.visitors: dict[str, tuple[str, str]] = {}  # session -> (visitor, network address)
        self._left: dict[str, float] = {}  # session -> time at which it was first missing

    def add(self, session: str, file: str, size: int, visitor: str = "", address: str = "") -> None:
        """Count a file; a size of 0 removes it. A session keeps the visitor and address of its first file."""
        if size:
            self.files.setdefault(session, {})[file] = size
            self.visitors.setdefault(session, (visitor or session, address))
        else:
            self.files.get(session, {}).pop(file, None)

    def of(self, session: str) -> int:
        """Bytes of one session."""
        return sum(self.files.get(session, {}).values())

    def of_visitor(self, visitor: str) -> int:
        """Bytes of all sessions (such as the tabs of a browser) of one visitor."""
        return sum(self.of(session) for session in self.files if self.visitors[session][0] == visitor)

    def of_address(self, address: str) -> int:
        """Bytes of all sessions of one network address."""
        return sum(self.of(session) for session in self.files if self.visitors[session][1] == address)

    def total(self) -> int:
        """Bytes of all sessions."""
        return sum(map(self.of, self.files))

    def sweep(self, window: float = WINDOW) -> None:
        """Free the files of sessions that ended more than `window` seconds ago."""
        if not runtime.exists():
            return
        here, now = runtime.get_instance(), time.monotonic()
        for session in list(self.files):
            if here.is_active_session(session):
                self._left.pop(session, None)
            elif now - self._left.setdefault(session, now) >= window:
                here.uploaded_file_mgr.remove_session_files(session)
                self.files.pop(session, None)
                self.visitors.pop(session, None)
                self._left.pop(session, None)


HELD = Held()  # shared by all parts of this process's server


class Uploads:
    """ASGI middleware that refuses a file for which there is no room."""

    def __init__(self, app: ASGIApp, held: Held = HELD, limits: Callable[[], Limits] = from_environment) -> None:
        self.app, self.held, self.limits = app, held, limits
        self._numbers = count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse an upload without room; pass every other request on."""
        match = UPLOAD.fullmatch(scope.get("path", "")) if scope["type"] == "http" else None
        if match is None or scope["method"] not in ("PUT", "DELETE"):
            await self.app(scope, receive, send)
            return
        if scope["method"] == "DELETE":
            await self._pass_on(match, scope, receive, send, 0)
            return
        headers = Headers(scope=scope)
        size, visitor = _size(headers), cookie_parser(headers.get("cookie", "")).get(COOKIE) or match["session"]
        address = network_of((scope.get("client") or ("",))[0])
        visitor, address = self.held.visitors.get(match["session"], (visitor, address))
        why = self._refusal(visitor, size, address)
        if why or size is None:
            await PlainTextResponse(why, 413)(scope, receive, send)
            return
        arriving = f"{match['file']} {next(self._numbers)}"  # counted in addition to the file that it may replace
        self.held.add(match["session"], arriving, size, visitor, address)
        body = _Body(receive, size)
        try:
            await self._pass_on(match, scope, body.receive, send, size)
        except ClientDisconnect:  # the visitor has left, or is taken to have left
            if body.stalled:
                await PlainTextResponse("The upload stopped, or was too slow. Try again.", 408)(scope, receive, send)
        finally:
            self.held.add(match["session"], arriving, 0)

    async def _pass_on(self, match: re.Match[str], scope: Scope, receive: Receive, send: Send, size: int) -> None:
        """Pass the request on. Once it has succeeded, the file counts `size` bytes."""

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self.held.add(match["session"], match["file"], size)
            await send(message)

        await self.app(scope, receive, watched)

    def _refusal(self, visitor: str, size: int | None, address: str = "") -> str:
        """Reason why a file of this size is refused; "" where it is accepted."""
        if size is None:
            return "The request does not state the size of the file. Upload it with a browser."
        limits = self.limits()
        most = limits.files_mb * 1e6
        self.held.sweep()
        if self.held.total() + size > most:
            self.held.sweep(window=0.0)  # visitors who return must upload their files again
        if self.held.of_visitor(visitor) + size > limits.visitor_files * limits.upload_mb * 1e6:
            return (
                "Your uploaded files use all the memory that one visitor has. Add them to your models, or remove some."
            )
        if address not in HERE and self.held.of_address(address) + size > most / 2:
            return "Files from your network address use half of the memory for uploads. Add them to your models first."
        if self.held.total() + size > most:
            return "Others are uploading files, and the server has no room for another one. Try again in a minute."
        return ""


class _Body:
    """The body of an upload, which must arrive in time. stalled: whether it did not, and was given up."""

    def __init__(self, receive: Receive, size: int) -> None:
        self._receive, self._ends, self._is_whole = receive, time.monotonic() + STALL + size / SLOWEST, False
        self.stalled = False

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()
        try:
            left = max(0.0, self._ends - time.monotonic())
            message = await asyncio.wait_for(self._receive(), min(STALL, left))
        except TimeoutError:
            self.stalled = True
            return {"type": "http.disconnect"}
        self._is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message


def _size(headers: Headers) -> int | None:
    """Bytes of the request's body; None where the header is missing, malformed or contradicted by another one."""
    text = headers.get("content-length", "")
    if "transfer-encoding" in headers or not (text.isascii() and text.isdecimal() and len(text) < 16):
        return None
    return int(text)
