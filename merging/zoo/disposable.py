"""A process that may die of the file it reads: started by the parent under a clock, limited in memory by itself.

Both sides are here. The parent calls `run_disposable`; the module that it names calls `limit_process` and
`answer_with`. They share a folder: the parent writes the order, the process its results, or error.json. torch-free.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from merging import errors
from merging.paths import ROOT

REFUSAL = "error.json"
AT_ONCE = max(1, (os.cpu_count() or 2) // 2)  # a class that uploads at one time leaves half of the cores to the pages
NICENESS = 5
_places = threading.BoundedSemaphore(AT_ONCE)


def run_disposable(
    module: str, folder: Path, seconds: int, late: errors.MergescopeError, dead: errors.MergescopeError
) -> None:
    """Run `python -m MODULE FOLDER` to its end, behind others where AT_ONCE of them run in this process's name.

    Raises the error of ours that the process left in error.json, `late` where it took more than `seconds`, and `dead`
    where it ended in any other way.
    """
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, str(folder)]
    with _places:  # the clock starts once there is a place
        try:
            process = subprocess.run(command, env=environment, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired as error:
            raise late from error
    if process.returncode != 0:
        raise dead
    refusal = folder / REFUSAL
    if refusal.exists():
        words = json.loads(refusal.read_text("utf-8"))
        raise getattr(errors, words["kind"], errors.MergescopeError)(words["text"])


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
    for kind, limit in ((resource.RLIMIT_AS, used + memory), (resource.RLIMIT_CPU, seconds)):
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(kind, (allowed, allowed))
        except ValueError:  # macOS refuses some of them; the parent's clock still ends this process
            continue
