"""Server around the pages: the dispatcher's process, the health route, and the message for unexpected errors."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import logging
import os
import pkgutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import streamlit as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from streamlit import config

import ui
from merging.jobs.limits import from_environment
from merging.paths import ROOT, child_environment
from ui.shell.uploads import HELD

GRACE = 12.0  # seconds that the dispatcher has to stop its workers
M_ARENA_MAX = -8  # of malloc.h: the number of heaps
SWEEP = 30.0  # seconds between two sweeps of the files of visitors who left
LOOK = 1.0  # seconds between two checks of the dispatcher
TOLD = 2  # exit code of a dispatcher that printed an error which a person has to fix
SLOWEST = 60.0  # longest wait in seconds before a dispatcher that keeps ending is started again
log = logging.getLogger(__name__)


class Shell:
    """Owner of the dispatcher's process: restarts it when it ends, and reports its state to the health route."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None

    async def keep(self) -> None:
        """Restart the dispatcher whenever it ends; if it ends soon after its start, the wait doubles."""
        wait = LOOK
        while self.child is not None:
            start = time.monotonic()
            while self.child.poll() is None:
                await asyncio.sleep(LOOK)
            log.warning("the dispatcher ended (exit code %s) and is restarted", self.child.returncode)
            wait = LOOK if time.monotonic() - start > SLOWEST else min(2 * wait, SLOWEST)
            if self.child.returncode == TOLD:  # a person has to do something first
                wait = SLOWEST
            await asyncio.sleep(wait)
            if self.child.stdin is not None:
                self.child.stdin.close()
            self.child = start_dispatcher()

    @asynccontextmanager
    async def lifespan(self, app: st.App) -> AsyncIterator[None]:
        """Run a dispatcher while the app runs, unless MERGESCOPE_DISPATCHER=none says that one runs elsewhere.

        Set the server's limit of upload sizes to `Limits.upload_mb`.
        """
        config.set_option("server.maxUploadSize", int(from_environment().upload_mb))
        if os.environ.get("MERGESCOPE_HELD"):
            end_with_stdin()
        self.child = None if os.environ.get("MERGESCOPE_DISPATCHER") == "none" else start_dispatcher()
        tasks = [asyncio.create_task(work) for work in (self.keep(), let_go(), import_and_freeze())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            if self.child is not None:
                stop_dispatcher(self.child)

    async def health(self, request: Request) -> JSONResponse:
        """Answer the health route with the dispatcher's state: "running", "stopped" or "elsewhere"."""
        state = "elsewhere" if self.child is None else "running" if self.child.poll() is None else "stopped"
        return JSONResponse({"status": "ok", "dispatcher": state})


async def import_and_freeze() -> None:
    """Import what pages need before the first visitor comes, and exempt it from garbage collection.

    Otherwise a full collection, which takes a tenth of a second, checks all these objects again and again.
    """
    await asyncio.to_thread(import_pages)
    gc.collect()
    gc.freeze()


def import_pages() -> None:
    """Import all files of `ui`, except the script that runs the pages."""
    for module in pkgutil.walk_packages(ui.__path__, f"{ui.__name__}."):
        if module.name != "ui.main":
            importlib.import_module(module.name)


async def let_go() -> None:
    """Free the files of visitors who left, every SWEEP seconds."""
    while True:
        await asyncio.sleep(SWEEP)
        HELD.sweep()


def end_with_stdin() -> None:
    """End this process by SIGTERM when its stdin ends, because the process that started it is gone."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def start_dispatcher() -> subprocess.Popen[bytes]:
    """Start `python -m merging.jobs`. Its stdin is a pipe that closes when this process ends, even by a crash."""
    command = [sys.executable, "-m", "merging.jobs", "--watch-stdin"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, env=child_environment())


def stop_dispatcher(child: subprocess.Popen[bytes]) -> None:
    """Close the dispatcher's stdin and wait; kill it after GRACE seconds."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def share_one_heap() -> None:
    """Make all threads of this process allocate from one heap, where the C library is glibc.

    Each rerun of a page is a new thread. By default, glibc gives threads separate heaps, and freed memory stays
    scattered over these heaps, so that the server's memory would grow for hours.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def say_sorry(error: Exception) -> bool:
    """Log an unexpected error and show a short message. Returns True, so that Streamlit shows no traceback."""
    log.error("a page failed", exc_info=error)
    st.error(
        "Something went wrong inside Mergescope. Reload the page. If it happens again, report it with the steps that "
        "led to it and the error in the program's log.",
        icon=":material/error:",
    )
    return True
