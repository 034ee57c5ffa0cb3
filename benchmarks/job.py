"""What the worker adds to the work: a job through ledger and dispatcher beside the same calls in one process.

python -m benchmarks.job [--pair mlp-512] [--repeats 5]: starts `python -m merging.jobs` on a ledger of its own (cold
start: until its worker is warm), then sends merges with ever new seeds in turns with the same merges called here, and
at last asks for a finished one again. Both sides use one thread and the CPU. On a busy Linux machine start it by
`setsid`: the dispatcher has a session of its own, and the scheduler shares the processors among sessions.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

import torch

from benchmarks.timing import interleave, ratios, spread, table, write
from merging.jobs.ledger.jobs import Job
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.requests import MergeRequest, ModelRef
from merging.jobs.tasks.run import run_task
from merging.jobs.worker.gather import gather
from merging.zoo import catalogue
from merging.zoo.datasets.fingerprint import fingerprint

DATASET = "fashion-mnist"
PAIRS = {"mlp-128": "fashion-mlp-128", "mlp-512": "fashion-mlp-512", "cnn": "fashion-cnn"}
TICK = 0.01


def request(pair: str, seed: int, images: int, points: int) -> MergeRequest:
    """The pair's merge with one seed."""
    a, b = (ModelRef.of(catalogue.find(f"{PAIRS[pair]}-s{number}")) for number in (0, 1))
    data = fingerprint(DATASET, images)
    return MergeRequest((a, b), dataset=DATASET, data_sha256=data, images=images, points=points, seed=seed)


def through_the_ledger(ledger: Ledger, asked: MergeRequest) -> None:
    """Ask, wait and read the report, as a page does."""
    job: Job | None = ledger.submit(asked, "benchmark")
    while job is not None and job.open:
        time.sleep(TICK)
        job = ledger.job(asked.id)
    if job is None or job.state != "done" or ledger.report(asked.id) is None:
        raise SystemExit(f"The job ended {job.state if job else 'gone'}: {job.error if job else ''}")


def main() -> None:
    """Write the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pair", choices=tuple(PAIRS), default="mlp-512")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--images", type=int, default=2000)
    options.add_argument("--points", type=int, default=25)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        ledger = Ledger(Path(home))
        command = [
            sys.executable,
            "-m",
            "merging.jobs",
            "--home",
            home,
            "--device",
            "cpu",
            "--threads",
            "1",
            "--watch-stdin",
        ]
        began = time.perf_counter()
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
        try:
            while not ledger.workers():
                time.sleep(TICK)
            cold = time.perf_counter() - began
            measure(ledger, chosen, cold)
        finally:
            if worker.stdin is not None:
                worker.stdin.close()
            worker.wait()


def measure(ledger: Ledger, chosen: argparse.Namespace, cold: float) -> None:
    """Both sides in turns, each with a seed of its own every time, then a finished question again."""
    here, there = count(0), count(0)
    ask = (chosen.images, chosen.points)

    def job() -> None:
        through_the_ledger(ledger, request(chosen.pair, next(there), *ask))

    def library() -> None:
        asked = request(chosen.pair, next(here), *ask)
        run_task("merge", gather(ledger, asked, "cpu", 1))

    spent = interleave({"job": job, "library": library}, chosen.repeats)
    known = interleave({"known": lambda: through_the_ledger(ledger, request(chosen.pair, 0, *ask))}, chosen.repeats)
    rows = [
        ["cold start until the worker is warm, once", f"{cold:.3f}"],
        ["job through ledger and warm worker", spread(spent["job"])],
        ["the same library calls in one process", spread(spent["library"])],
        ["ratio, round by round", spread(ratios(spent["job"], spent["library"]))],
        ["a finished request asked again, report read", spread(known["known"])],
    ]
    write(f"{chosen.pair}, {chosen.images} images a split, {chosen.points} points, one thread, {chosen.repeats} rounds")
    write(table(["what", "seconds: median (lowest-highest)"], rows))


if __name__ == "__main__":
    main()
