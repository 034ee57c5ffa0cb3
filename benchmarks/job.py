"""Overhead of the worker: a job through ledger and dispatcher beside the same calls in one process.

python -m benchmarks.job [--pair mlp-512] [--repeats 5]: starts `python -m merging.jobs` on a ledger of its own and
measures the cold start until its worker is warm. Then it sends merges, each with a new seed, in turns with the same
merges called in this process, and at last requests a finished one again. Both sides use one thread and the CPU. On a
busy Linux machine start it by `setsid`: the dispatcher has a session of its own, and the scheduler shares the
processors among sessions.
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
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.tasks.run import run_task
from merging.jobs.worker.gather import gather_payload
from merging.zoo import catalogue
from merging.zoo.datasets.fingerprint import fingerprint

DATASET = "fashion-mnist"
PAIRS = {"mlp-128": "fashion-mlp-128", "mlp-512": "fashion-mlp-512", "cnn": "fashion-cnn"}
TICK = 0.01  # seconds between two looks at the ledger


def request(pair: str, seed: int, images: int, points: int) -> MergeRequest:
    """Merge request of the pair with one seed."""
    a, b = (ModelRef.of(catalogue.find_entry(f"{PAIRS[pair]}-s{number}")) for number in (0, 1))
    data = fingerprint(DATASET, images)
    return MergeRequest((a, b), dataset=DATASET, data_sha256=data, images=images, points=points, seed=seed)


def through_the_ledger(ledger: Ledger, asked: MergeRequest) -> None:
    """Submit, wait, and read the report, as a page does."""
    job: Job | None = ledger.submit(asked, "benchmark")
    while job is not None and job.open:
        time.sleep(TICK)
        job = ledger.job(asked.id)
    if job is None or job.state != "done" or ledger.report(asked.id) is None:
        raise SystemExit(f"The job ended {job.state if job else 'gone'}: {job.error if job else ''}")


def main() -> None:
    """Start the worker, measure, and write the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pair", choices=tuple(PAIRS), default="mlp-512")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--images", type=int, default=2000)
    options.add_argument("--points", type=int, default=25)
    arguments = options.parse_args()
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
            measure(ledger, arguments, cold)
        finally:
            if worker.stdin is not None:
                worker.stdin.close()
            worker.wait()


def measure(ledger: Ledger, chosen: argparse.Namespace, cold: float) -> None:
    """Time both sides in turns, each time with a new seed, and then a finished request; write the table."""
    here, there = count(0), count(0)
    ask = (chosen.images, chosen.points)

    def job() -> None:
        through_the_ledger(ledger, request(chosen.pair, next(there), *ask))

    def library() -> None:
        merge_request = request(chosen.pair, next(here), *ask)
        run_task("merge", gather_payload(ledger, merge_request, "cpu", 1))

    timings = interleave({"job": job, "library": library}, chosen.repeats)
    repeated = interleave({"known": lambda: through_the_ledger(ledger, request(chosen.pair, 0, *ask))}, chosen.repeats)
    rows = [
        ["cold start until the worker is warm, once", f"{cold:.3f}"],
        ["job through ledger and warm worker", spread(timings["job"])],
        ["the same library calls in one process", spread(timings["library"])],
        ["ratio, round by round", spread(ratios(timings["job"], timings["library"]))],
        ["a finished request asked again, report read", spread(repeated["known"])],
    ]
    write(f"{chosen.pair}, {chosen.images} images a split, {chosen.points} points, one thread, {chosen.repeats} rounds")
    write(table(["what", "seconds: median (lowest-highest)"], rows))


if __name__ == "__main__":
    main()
