"""A process that may die of the file it reads: started by the parent under a clock, limited in memory by itself.

Both sides are here. The parent calls `run_disposable`; the module that it names calls `limit_process` and
`answer_with`. They share a folder: the parent writes the order, the process its results, or error.json. torch-free.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from merging import errors
from merging.paths import ROOT

REFUSAL = "error.json"
AT_ONCE = max(2, (os.cpu_count() or 2) // 4)  # a class that uploads at one time leaves cores and memory to the rest
NICENESS = 5
PATIENCE = 10  # times the processor's time: the clock of a process on a busy machine, or of one that waits for ever
Waiting = Callable[[int], None]
_line: list[object] = []  # who was first stands first; the first AT_ONCE run
_moved = threading.Condition()


def in_silence(before: int) -> None:
    """Ignore the place in line."""


def run_disposable(
    module: str,
    folder: Path,
    seconds: int,
    late: errors.MergescopeError,
    dead: errors.MergescopeError,
    waiting: Waiting = in_silence,
) -> None:
    """Run `python -m MODULE FOLDER` to its end, behind others where AT_ONCE of them run in this process's name.

    waiting: told every second how many are before it.
    Raises the error of ours that the process left in error.json, `late` where it took more than `seconds` of a
    processor's time, and `dead` where it ended in any other way.
    """
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, str(folder)]
    with _place(waiting):  # the clock starts once there is a place
        try:
            clock = PATIENCE * seconds
            process = subprocess.run(command, env=environment, capture_output=True, timeout=clock, check=False)
        except subprocess.TimeoutExpired as error:
            raise late from error
    if process.returncode == -getattr(signal, "SIGXCPU", 0):
        raise late
    if process.returncode != 0:
        raise dead
    refusal = folder / REFUSAL
    if refusal.exists():
        words = json.loads(refusal.read_text("utf-8"))
        raise getattr(errors, words["kind"], errors.MergescopeError)(words["text"])


@contextmanager
def _place(waiting: Waiting) -> Iterator[None]:
    """Stand in line, then be one of the AT_ONCE that run."""
    own = object()
    with _moved:
        _line.append(own)
    try:
        while before := _before(own):
            waiting(before)  # may raise: the visitor who waited has left
            with _moved:
                _moved.wait(1.0)
        yield
    finally:
        with _moved:
            _line.remove(own)
            _moved.notify_all()


def _before(own: object) -> int:
    """How many go before it, 0 where it is its turn."""
    with _moved:
        return max(0, _line.index(own) + 1 - AT_ONCE)


def answer_with(folder: Path, work: Callable[[], None]) -> int:
    """Run `work`; an error of ours goes into error.json for the parent to raise. Gives the exit code."""
    try:
        work()
    except errors.MergescopeError as error:
        words = {"kind": type(error).__name__, "text": str(error)}
        (folder / REFUSAL).write_text(json.dumps(words), "utf-8")
    return 0


def limit_process(memory: int, seconds: int) -> None:
    """Bound this process's memory to `memory` bytes beside what it has already, and its CPU time; let pages go first.

    Windows has no such limits, and the parent's clock alone ends the process there.
    """
    if sys.platform == "win32":
        return
    import resource

    os.nice(NICENESS)
    pages = Path("/proc/self/statm")  # where there is none (macOS) the program itself is taken for 4 GB
    used = int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else 4_000_000_000
    signalled = seconds + 1  # SIGXCPU, which tells the parent why, comes a second before SIGKILL
    for kind, soft, limit in (
        (resource.RLIMIT_AS, used + memory, used + memory),
        (resource.RLIMIT_CPU, seconds, signalled),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(kind, (min(soft, allowed), allowed))
        except ValueError:  # macOS refuses some of them; the parent's clock still ends this process
            continue
