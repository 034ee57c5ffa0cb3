"""Supervisor: restarts the dispatcher when it dies, and leaves no process behind, whichever process is killed.

The supervisor starts the dispatcher in a separate session and holds a pipe to its stdin. Ray's processes stay in that
session, so the supervisor can end all of them, however the dispatcher ended. The dispatcher ends itself when the pipe
closes, so it also ends with the supervisor, however the supervisor ended.
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

from merging.paths import child_environment

GRACE = 8.0  # seconds after which a dispatcher that was told to stop is killed
RETRIES = 3  # largest number of restarts in a row after short runs; a longer run resets the count
SHORT = 60.0  # seconds; a run of the dispatcher below this length counts as short
LOOK = 0.5  # seconds between two checks of the vital processes
POSIX = os.name == "posix"
log = logging.getLogger(__name__)


def supervise(options: Sequence[str], *, watch_stdin: bool) -> int:
    """Run `python -m merging.jobs --dispatch` with these options until a signal, or the end of a watched stdin.

    A dispatcher that dies is replaced. Returns the dispatcher's exit code, or 0 after a request to stop.
    """
    stop = threading.Event()
    stop_on_signals(stop)
    if watch_stdin:
        stop_at_end_of_stdin(stop)
    short_runs = 0
    while not stop.is_set():
        began = time.monotonic()
        code = _once(options, stop)
        if stop.is_set():
            return 0
        short_runs = short_runs + 1 if time.monotonic() - began < SHORT else 0
        if code == 0 or short_runs > RETRIES:
            return code
        stop.wait(1.0)
    return 0


def stop_on_signals(stop: threading.Event) -> None:
    """Make SIGINT and SIGTERM set `stop`."""

    def handler(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def stop_at_end_of_stdin(stop: threading.Event, ready: threading.Event | None = None) -> None:
    """Set `stop` at the end of stdin, which means that the process at the other end is gone.

    ready: given if this process leads a session, which is then killed as a whole: at once if `ready` is not set yet,
    otherwise if this process still runs after GRACE seconds.
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
    """Watch the vital processes until `stop` is set; if one of them ended, kill this session.

    lost: returns the name of a vital process that ended, or "". Ray itself would take more than a minute to report the
    end of the process; the supervisor starts a new dispatcher at once.
    """

    def watch() -> None:
        while not (name := lost()):
            if stop.wait(LOOK):
                return
        log.warning("%s ended: the dispatcher is restarted", name)
        end_session(os.getpid())
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def end_session(leader: int) -> None:
    """Kill every process of the session that `leader` leads or led, except this process."""
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
    """Create a folder for Ray inside a private folder, because Ray makes its folder readable by all users.

    The path is short, because the path of a Unix socket has at most about a hundred characters.
    """
    folder = Path(tempfile.mkdtemp(prefix="mergescope-", dir="/tmp" if POSIX else None)) / "r"
    folder.mkdir()
    return folder


def remove_scratch(folder: Path) -> None:
    """Delete Ray's folder and, if it is empty then, the private folder around it."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


def _once(options: Sequence[str], stop: threading.Event) -> int:
    scratch = scratch_folder()
    command = [sys.executable, "-m", "merging.jobs", "--dispatch", "--scratch", str(scratch), *options]
    environment = child_environment()  # also for the workers, which start in another folder
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
