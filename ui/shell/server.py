"""What stands around the pages: the dispatcher's process, the owner's cookie, the health route, the last resort."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from streamlit import config

from merging.jobs.limits import from_environment
from merging.paths import ROOT
from ui.shell.uploads import HELD

GRACE = 12.0  # seconds the dispatcher has to stop its workers
SWEEP = 30.0  # seconds between two looks at the files of visitors who have left
LOOK = 1.0  # seconds between two looks at the dispatcher
TOLD = 2  # exit code of a dispatcher that has said what is wrong
SLOWEST = 60.0  # seconds between two starts of one that ends again and again
log = logging.getLogger(__name__)


class Shell:
    """Holds the dispatcher's process: starts it anew when it is gone, and tells the health route how it is."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None

    async def keep(self) -> None:
        """Start the dispatcher anew whenever it is gone, later each time where it ends at once."""
        wait = LOOK
        while self.child is not None:
            begun = time.monotonic()
            while self.child.poll() is None:
                await asyncio.sleep(LOOK)
            log.warning("the dispatcher is gone (exit code %s) and is started anew", self.child.returncode)
            wait = LOOK if time.monotonic() - begun > SLOWEST else min(2 * wait, SLOWEST)
            if self.child.returncode == TOLD:  # a person has to do something first
                wait = SLOWEST
            await asyncio.sleep(wait)
            if self.child.stdin is not None:
                self.child.stdin.close()
            self.child = start_dispatcher()

    @asynccontextmanager
    async def lifespan(self, app: st.App) -> AsyncIterator[None]:
        """Run a dispatcher as long as the app runs; none with MERGESCOPE_DISPATCHER=none (one runs elsewhere).

        The server takes files as large as `Limits.upload_mb` says.
        """
        config.set_option("server.maxUploadSize", int(from_environment().upload_mb))
        if os.environ.get("MERGESCOPE_HELD"):
            end_with_stdin()
        self.child = None if os.environ.get("MERGESCOPE_DISPATCHER") == "none" else start_dispatcher()
        tasks = [asyncio.create_task(work) for work in (self.keep(), let_go())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            if self.child is not None:
                stop_dispatcher(self.child)

    async def health(self, request: Request) -> JSONResponse:
        """Whether the app answers, and how its dispatcher is: "running", "stopped" or "elsewhere"."""
        state = "elsewhere" if self.child is None else "running" if self.child.poll() is None else "stopped"
        return JSONResponse({"status": "ok", "dispatcher": state})


async def let_go() -> None:
    """Free, now and then, the files of visitors who have left."""
    while True:
        await asyncio.sleep(SWEEP)
        HELD.sweep()


def end_with_stdin() -> None:
    """End this process by SIGTERM when its stdin ends: the process that started it is gone."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def start_dispatcher() -> subprocess.Popen[bytes]:
    """`python -m merging.jobs` with a pipe as its stdin: when this process is gone, however it went, the pipe ends."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "merging.jobs", "--watch-stdin"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths})


def stop_dispatcher(child: subprocess.Popen[bytes]) -> None:
    """Close its stdin and wait; after GRACE seconds end it the hard way."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def say_sorry(error: Exception) -> bool:
    """Nobody foresaw this error: the log gets it, the page a sentence. Gives True, so that no traceback is shown."""
    log.error("a page failed", exc_info=error)
    st.error(
        "Something went wrong inside Mergescope, and the program's log says what. Reload the page; if it happens "
        "again, report it with what you clicked.",
        icon=":material/error:",
    )
    return True
