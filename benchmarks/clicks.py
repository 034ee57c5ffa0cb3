"""Time from a click to a unit's picture while a long job runs: python -m benchmarks.clicks, some five minutes.

Starts `python -m merging.jobs` on a ledger of its own. Twenty pages of units are asked for one after the other (16
units of a layer of a shipped CNN each, as one click on Neurons does), first with nothing else running, then beside a
training of many minutes. Measured is the time from the request to the stored picture, and the memory of the workers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.timing import table, write
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.base import ModelRef, Request
from merging.jobs.requests.pictures import MAX_UNITS, PicturesRequest
from merging.jobs.requests.train import TrainRequest
from merging.zoo.catalogue import find_entry
from merging.zoo.datasets.fingerprint import fingerprint

NET, LAYER, DATASET = "fashion-cnn-s0", "features.6", "fashion-mnist"
TICK = 0.01  # seconds between two looks at the ledger


def seconds_of(ledger: Ledger, asked: Request) -> float:
    """Submit, and wait for the result. Raises SystemExit where there is none."""
    began = time.perf_counter()
    job = ledger.submit(asked, "somebody who clicks")
    while job.open:
        time.sleep(TICK)
        found = ledger.job(asked.id)
        if found is None:
            raise SystemExit("The job is gone.")
        job = found
    if job.state != "done":
        raise SystemExit(f"The job ended as {job.state}: {job.error}")
    return time.perf_counter() - began


def memory(worker: subprocess.Popen[bytes]) -> list[float]:
    """Unique memory in MB of every worker process that imported torch, the largest first."""
    children = psutil.Process(worker.pid).children(recursive=True)
    named = [child for child in children if child.name().startswith("ray::")]
    sizes = sorted((child.memory_full_info().uss / 1e6 for child in named), reverse=True)
    return [size for size in sizes if size > 100]


def main() -> None:
    """Start the worker, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=20)
    clicks = parser.parse_args().clicks
    net = ModelRef.of(find_entry(NET))
    config = {"widths": [32, 64, 128, 256], "in_shape": [1, 28, 28], "classes": 10}
    long = TrainRequest("cnn", config, DATASET, fingerprint(DATASET, None), epochs=50)
    rows = []
    with tempfile.TemporaryDirectory() as home:
        ledger = Ledger(Path(home))
        command = [sys.executable, "-m", "merging.jobs", "--home", home, "--device", "cpu", "--watch-stdin"]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, env=dict(os.environ))
        try:
            seconds_of(ledger, PicturesRequest(net, LAYER, (0,), {"steps": 16}))  # until the workers are warm
            time.sleep(10)
            for number, beside in enumerate(("nothing", "a training")):
                if beside != "nothing":
                    ledger.submit(long, "somebody who computes")
                    time.sleep(15)
                spent = [
                    seconds_of(ledger, PicturesRequest(net, LAYER, tuple(range(MAX_UNITS)), seed=100 * number + click))
                    for click in range(clicks)
                ]
                job = ledger.job(long.id)
                state = "" if job is None else f" ({job.state})"
                p50, p95 = np.quantile(spent, [0.5, 0.95])
                rows.append([beside + state, f"{p50:.2f}", f"{p95:.2f}", f"{max(spent):.2f}"])
            sizes = ", ".join(f"{size:.0f}" for size in memory(worker))
        finally:
            if worker.stdin is not None:
                worker.stdin.close()
            worker.wait()
    write(f"{clicks} clicks, {MAX_UNITS} pictures of {LAYER} of {NET} each; seconds from request to stored pictures")
    write(table(["beside", "median", "95th percentile", "longest"], rows))
    write(f"Memory of the worker processes: {sizes} MB")


if __name__ == "__main__":
    main()
