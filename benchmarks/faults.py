"""Recovery from kills and from damage: python -m benchmarks.faults [--rounds 5] [--cases 500] [--only KIND] [--json]

Kills: the app as `python start.py` starts it runs a long training. Each kind of process in turn is killed (SIGKILL),
and the clock runs until the training is reported as running again; for start.py itself, until no process of the app is
left. Damage: `benchmarks.damage` makes damaged ledgers and checkpoint files, and made-up addresses; the output counts
those that were refused and lists each that went wrong. All random choices are drawn from a seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from benchmarks.damage import Tally, addresses, files, homes
from benchmarks.job import DATASET
from benchmarks.pages import running
from benchmarks.timing import Timing, spread, table, write
from merging.jobs.ledger.connection import connect
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.train import TrainRequest
from merging.zoo.datasets.fingerprint import fingerprint

KINDS = ("supervisor", "dispatcher", "worker", "raylet", "gcs_server", "start.py")
PATIENCE = 180.0
DAMAGES: dict[str, Callable[[int, int], Tally]] = {"homes": homes, "files": files, "addresses": addresses}


def find(kind: str) -> psutil.Process:
    """Process of a kind among the descendants of this process."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if _kind(process) == kind:
                return process
    raise SystemExit(f"no {kind} is there to be killed")


def _kind(process: psutil.Process) -> str:
    words = process.cmdline()
    if process.name() in ("raylet", "gcs_server"):
        return process.name()
    if words and words[0].startswith("ray::_run"):
        return "worker"
    if "merging.jobs" in words:
        return "dispatcher" if "--dispatch" in words else "supervisor"
    return "start.py" if "start.py" in words else ""


def until(met: Callable[[], bool], since: float) -> float:
    """Wait until a condition is met; return the seconds since a given moment."""
    while not met():
        if time.perf_counter() - since > PATIENCE:
            raise SystemExit("work did not go on")
        time.sleep(0.05)
    return time.perf_counter() - since


def kill(kind: str, ledger: Ledger, job: str) -> float:
    """Seconds from the kill until the job runs again."""
    before = _run(ledger, job)
    process = find(kind)
    process.send_signal(signal.SIGKILL)
    return until(lambda: _run(ledger, job) > before and _trains(ledger, job), time.perf_counter())


def long_training(seed: int) -> TrainRequest:
    """A training that takes minutes."""
    config = {"widths": [256, 256], "in_shape": [1, 28, 28], "classes": 10}
    return TrainRequest("mlp", config, DATASET, fingerprint(DATASET, None), epochs=50, seed=seed)


def _trains(ledger: Ledger, id: str) -> bool:
    job = ledger.job(id)
    return job is not None and job.stage == "training"


def _run(ledger: Ledger, job: str) -> int:
    """Number of times that a worker took the job."""
    with connect(ledger.file) as db:
        row = db.execute("SELECT run FROM jobs WHERE id = ?", (job,)).fetchone()
    return 0 if row is None else int(row["run"])


def rounds(number: int, seed: int) -> dict[str, Timing]:
    """Seconds until recovery by kind of process, over `number` kills of each."""
    order = [kind for kind in KINDS[:-1] for _ in range(number)]
    random.Random(seed).shuffle(order)
    spent: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(number):
        with tempfile.TemporaryDirectory() as home:
            os.environ["MERGESCOPE_HOME"] = home
            with running():
                ledger = Ledger(Path(home))
                for at, kind in enumerate(order[turn::number]):
                    job = ledger.submit(long_training(at), "benchmark").id
                    until(partial(_trains, ledger, job), time.perf_counter())
                    spent[kind].append(kill(kind, ledger, job))
                    ledger.cancel(job, "benchmark")
                left = psutil.Process().children(recursive=True)
                find("start.py").send_signal(signal.SIGKILL)
                spent["start.py"].append(until(partial(_gone, left), time.perf_counter()))
    return {kind: Timing(tuple(seconds)) for kind, seconds in spent.items()}


def _gone(processes: list[psutil.Process]) -> bool:
    """Whether none of the processes is alive."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                return False
    return True


def main() -> None:
    """Measure, and print tables or JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5, help="of kills (default 5)")
    options.add_argument("--cases", type=int, default=500, help="of each kind of damage (default 500)")
    options.add_argument("--only", choices=["kills", *DAMAGES], help="one kind")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", action="store_true", help="print JSON")
    arguments = options.parse_args()
    tallies = {
        kind: make(arguments.cases, arguments.seed) for kind, make in DAMAGES.items() if arguments.only in (None, kind)
    }
    spent = rounds(arguments.rounds, arguments.seed) if arguments.only in (None, "kills") else {}
    if arguments.json:
        damages = {kind: vars(tally) for kind, tally in tallies.items()}
        write(json.dumps({**damages, "kills": {kind: timing.seconds for kind, timing in spent.items()}}))
        return
    if tallies:
        cells = [[kind, str(t.cases), str(t.refused), str(len(t.wrong))] for kind, t in tallies.items()]
        write(table(["damaged or made up", "cases", "refused in words", "wrong"], cells))
        write("\n".join(fault for tally in tallies.values() for fault in tally.wrong))
    if spent:
        rows = [[kind, spread(timing, 1)] for kind, timing in spent.items()]
        write(table(["killed", f"seconds until work goes on, {arguments.rounds} times: median (lowest-highest)"], rows))


if __name__ == "__main__":
    main()
