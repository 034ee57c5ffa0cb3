"""Read untrusted files in a child process, which may crash, with limits on its time and memory.

Both sides are in this file. The parent calls `run_disposable`, which starts a module as the child. The child calls
`limit_process` and `answer_with`. They share a folder: the parent writes the order into it, the child its results or
error.json. torch-free.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from merging import errors
from merging.paths import child_environment
from merging.zoo.forking import CAN_FORK, ForkServer

REFUSAL = "error.json"
AT_ONCE = max(2, (os.cpu_count() or 2) // 4)  # most child processes at a time, so that uploads leave CPU cores free
NICENESS = 5
PATIENCE = 10  # wall-clock limit divided by CPU-time limit: allows for a busy machine, but ends a child that hangs
Waiting = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class _Turn:
    """One child of this person, which runs or waits."""

    person: str


_running: list[_Turn] = []  # at most AT_ONCE
_line: list[_Turn] = []  # those who wait, the oldest first
_served: dict[str, int] = {}  # person -> number of the latest turn; empty while the queue is empty
_moved = threading.Condition()


def in_silence(before: int) -> None:
    """Ignore the place in the queue."""


def run_disposable(
    module: str,
    folder: Path,
    seconds: int,
    late: errors.MergescopeError,
    dead: errors.MergescopeError,
    waiting: Waiting = in_silence,
    person: str = "",
    server: ForkServer | None = None,
) -> None:
    """Run `python -m MODULE FOLDER` to its end. At most AT_ONCE such children run at a time; others wait in a queue.

    waiting: called every second in the queue with the number of children ahead.  person: whose child it is; people take
    turns, so that no person waits behind all files of another.  server: forks the child where that is possible, so
    that it need not import the module.
    Raises the MergescopeError that the child wrote to error.json, `late` if it used more than `seconds` of processor
    time, or `dead` if it ended in any other way.
    """
    with _place(waiting, _Turn(person)):  # time in the queue does not count towards the limit
        try:
            code = _forked(server, folder, PATIENCE * seconds)
            if code is None:
                code = _run(module, folder, PATIENCE * seconds)
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            raise late from error
    if code == -getattr(signal, "SIGXCPU", 0):
        raise late
    if code != 0:
        raise dead
    refusal = folder / REFUSAL
    if refusal.exists():
        words = json.loads(refusal.read_text("utf-8"))
        raise getattr(errors, words["kind"], errors.MergescopeError)(words["text"])


def _forked(server: ForkServer | None, folder: Path, seconds: float) -> int | None:
    """Exit code of a child that the server forked; None where it cannot. Raises TimeoutError."""
    if server is None or not CAN_FORK:
        return None
    try:
        return server.run(folder, seconds)
    except ProcessLookupError as error:
        logging.getLogger(__name__).warning("%s", error)
        return None


def _run(module: str, folder: Path, seconds: float) -> int:
    """Run `python -m MODULE FOLDER`; return its exit code. Raises TimeoutExpired.

    With -P, Python does not look for modules in the current folder, which may hold files of strangers.
    """
    environment = child_environment(OMP_NUM_THREADS="1")
    command = [sys.executable, "-P", "-m", module, str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, timeout=seconds, check=False).returncode


@contextmanager
def _place(waiting: Waiting, own: _Turn) -> Iterator[None]:
    """Context that waits in the queue on entry, and holds one of the AT_ONCE places for a running child until exit."""
    with _moved:
        _line.append(own)
    try:
        while before := _before(own):
            waiting(before)  # may raise, such as when the visitor has left the page
            with _moved:
                _moved.wait(1.0)
        yield
    finally:
        with _moved:
            (_running if own in _running else _line).remove(own)
            if not _running and not _line:
                _served.clear()
            _moved.notify_all()


def _before(own: _Turn) -> int:
    """The number of children to wait for; 0 if this one has just taken a place."""
    with _moved:
        ahead = len(_running) + _fair_order().index(own)
        if ahead < AT_ONCE:
            _line.remove(own)
            _running.append(own)
            _served[own.person] = 1 + max(_served.values(), default=0)
            return 0
        return ahead + 1 - AT_ONCE


def _fair_order() -> list[_Turn]:
    """Those who wait: who has the fewest children before this one first, then who was served longest ago."""
    count, turns = Counter(turn.person for turn in _running), dict[_Turn, tuple[int, int]]()
    for turn in _line:
        turns[turn] = count[turn.person], _served.get(turn.person, 0)
        count[turn.person] += 1
    return sorted(_line, key=turns.__getitem__)


def answer_with(folder: Path, work: Callable[[], None]) -> int:
    """Run `work` and write any MergescopeError to error.json, for the parent to raise. Returns the exit code."""
    try:
        work()
    except errors.MergescopeError as error:
        words = {"kind": type(error).__name__, "text": str(error)}
        (folder / REFUSAL).write_text(json.dumps(words), "utf-8")
    return 0


def limit_process(memory: int, seconds: int) -> None:
    """Limit this process to `memory` bytes above its current use and to `seconds` of CPU time, and lower its priority.

    Windows has no such limits; there, only the parent's wall-clock limit ends the process.
    """
    if sys.platform == "win32":
        return
    import resource

    os.nice(NICENESS)
    pages = Path("/proc/self/statm")  # missing on macOS: assume 4 GB for the program itself
    present = int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else 4_000_000_000
    kill_seconds = seconds + 1  # SIGXCPU, which tells the parent the reason, comes one second before SIGKILL
    for kind, soft, limit in (
        (resource.RLIMIT_AS, present + memory, present + memory),
        (resource.RLIMIT_CPU, seconds, kill_seconds),
    ):
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(kind, (min(soft, bound), bound))
        except ValueError:  # macOS refuses some limits; the parent's wall-clock limit still applies
            continue
