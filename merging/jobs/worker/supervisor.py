"""Keeps a dispatcher alive and takes all its processes with it: whoever is killed, nothing is left behind.

The supervisor starts the dispatcher in a session of its own and holds a pipe to its stdin. Ray's processes stay in
that session, so the supervisor can end every one of them once the dispatcher is gone, however it went; and the
dispatcher ends itself when the pipe closes, however the supervisor went.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil

from merging.paths import ROOT

GRACE = 8.0  # seconds a dispatcher has to end by itself
RETRIES = 3  # restarts of a dispatcher that dies young; one that lived for a while is always restarted
YOUNG = 60.0  # seconds
LOOK = 0.5  # seconds between two looks at the processes that are needed
POSIX = os.name == "posix"
log = logging.getLogger(__name__)


def supervise(options: Sequence[str], *, watch_stdin: bool) -> int:
    """Run `python -m merging.jobs --dispatch` with these options until a signal, or the end of stdin where watched.

    A dispatcher that dies is replaced. Gives the exit code: 0 when asked to stop.
    """
    stop = threading.Event()
    stop_on_signals(stop)
    if watch_stdin:
        stop_at_end_of_stdin(stop)
    young = 0
    while not stop.is_set():
        began = time.monotonic()
        code = _once(options, stop)
        if stop.is_set():
            return 0
        young = young + 1 if time.monotonic() - began < YOUNG else 0
        if code == 0 or young > RETRIES:
            return code
        stop.wait(1.0)
    return 0


def stop_on_signals(stop: threading.Event) -> None:
    """SIGINT and SIGTERM set `stop`."""

    def handler(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def stop_at_end_of_stdin(stop: threading.Event, ready: threading.Event | None = None) -> None:
    """End of file on stdin sets `stop`: whoever holds the other end is gone.

    ready: with one, this process leads a session and ends it the hard way: at once while it is not yet ready to work,
    or else when it is still there after a grace.
    """

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop.set()
        if ready is not None:
            time.sleep(GRACE if ready.is_set() else 0)
            end_session(os.getpid())
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def end_when_lost(lost: Callable[[], str], stop: threading.Event) -> None:
    """End this session at once when a process that it needs is gone, until `stop` is set. lost: names it, or "".

    Ray itself would wait for that process for a minute and more; the supervisor starts a new dispatcher at once.
    """

    def watch() -> None:
        while not (name := lost()):
            if stop.wait(LOOK):
                return
        log.warning("%s is gone: the dispatcher is started anew", name)
        end_session(os.getpid())
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def end_session(leader: int) -> None:
    """Kill every process of the session that `leader` leads or led, this process excepted."""
    for pid in psutil.pids():
        if pid != os.getpid() and _session(pid) == leader:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def scratch_folder() -> Path:
    """A new folder for Ray within a private one, since Ray opens its own to everybody. Short, for the path of a Unix
    socket has at most about a hundred characters."""
    folder = Path(tempfile.mkdtemp(prefix="mergescope-", dir="/tmp" if POSIX else None)) / "r"
    folder.mkdir()
    return folder


def remove_scratch(folder: Path) -> None:
    """Delete Ray's folder, and the private one around it once that is empty."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


def _once(options: Sequence[str], stop: threading.Event) -> int:
    scratch = scratch_folder()
    command = [sys.executable, "-m", "merging.jobs", "--dispatch", "--scratch", str(scratch), *options]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}  # for the workers, which start elsewhere
    child = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=POSIX)
    try:
        while child.poll() is None and not stop.wait(0.2):
            pass
        if child.stdin is not None:
            child.stdin.close()
        return _wait(child)
    finally:
        if POSIX:
            end_session(child.pid)
        remove_scratch(scratch)


def _wait(child: subprocess.Popen[bytes]) -> int:
    try:
        return child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
