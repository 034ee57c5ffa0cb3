"""Peak memory of merging two random ResNet-20 from files to a file.

python -m benchmarks.memory [--small] [--width N] [--ordinary | --worker] [--json]

The command line, or with --worker the dispatcher with its workers, runs in a process of its own. The peak is of that
process and all that it starts, sampled every 50 ms. Where Linux reports it, a page that several processes share counts
once (PSS), and the largest process counts with its exact peak. Random networks never converge, so weight matching is
cut off after a few sweeps: more sweeps take longer and no more memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.timing import write

WIDE, NARROW = 512, 267  # channels of the first stage: 1.1 GB and 300 MB
INTERVAL = 0.05  # seconds
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
ROOM = 20_000  # megabytes that the store may hold
RESTARTS, SWEEPS = 1, 2


def main() -> None:
    """Make two checkpoints, merge them, and print peak memory and time."""
    options = parser().parse_args()
    width = options.width or (NARROW if options.small else WIDE)
    with tempfile.TemporaryDirectory(prefix="mergescope-memory-", dir=options.folder) as folder:
        files = [Path(folder) / f"{name}.safetensors" for name in "ab"]
        for seed, file in enumerate(files):  # in a process of its own, like all work here that imports torch
            making = f"from benchmarks.memory import make; make({str(file)!r}, {width}, {seed})"
            subprocess.run([sys.executable, "-c", making], check=True)
        size = files[0].stat().st_size
        began = time.perf_counter()
        out = Path(folder) / "out"
        peak = (worker_peak if options.worker else merged_peak)(files, out, options)
        figures = {
            "peak_mb": round(peak / 1e6, 1),
            "checkpoint_mb": round(size / 1e6, 1),
            "seconds": round(time.perf_counter() - began, 1),
        }
    if options.json:
        return write(json.dumps(figures))
    return write("  ".join(f"{name} {value:,}" for name, value in figures.items()))


def parser() -> argparse.ArgumentParser:
    """Build the parser of the options."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true", help="a pair of 300 MB in place of 1.1 GB")
    options.add_argument("--width", type=int, help="channels of the first stage (16 is the paper's)")
    options.add_argument("--restarts", type=int, default=RESTARTS, help=f"of weight matching (default {RESTARTS})")
    options.add_argument("--sweeps", type=int, default=SWEEPS, help=f"of each restart at most (default {SWEEPS})")
    options.add_argument("--ordinary", action="store_true", help="with both networks in memory, to compare")
    options.add_argument("--worker", action="store_true", help="by a worker, as the app does it")
    options.add_argument("--folder", help="where to write (default: the system's folder for temporary files)")
    options.add_argument("--json", action="store_true", help="print JSON")
    return options


def merged_peak(files: list[Path], out: Path, options: argparse.Namespace) -> int:
    """Peak bytes of the command while it merges two files into the folder `out`."""
    how = ["--align", "weight-matching", "--correct", "none", "--device", "cpu", "--quiet"]
    how += ["--set", f"align.restarts={options.restarts}", "--set", f"align.sweeps={options.sweeps}"]
    how += ["--no-streamed"] if options.ordinary else ["--streamed"]
    command = [sys.executable, "-m", "merging", "merge", *map(str, files), *how, "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        peak = 0
        while running.poll() is None:
            peak = max(peak, held(running.pid))
            time.sleep(INTERVAL)
    if running.returncode:
        raise SystemExit(f"the merge ended with exit code {running.returncode}")
    return peak


def worker_peak(files: list[Path], home: Path, options: argparse.Namespace) -> int:
    """Peak bytes of a dispatcher and its workers while they merge two files of the store in `home`."""
    from merging.jobs.ledger.jobs import Job
    from merging.jobs.ledger.ledger import Ledger
    from merging.jobs.limits import Limits
    from merging.jobs.requests.base import ModelRef
    from merging.jobs.requests.merge import MergeRequest

    ledger = Ledger(home, Limits(store_mb=ROOM))
    width = options.width or (NARROW if options.small else WIDE)
    nets = tuple(
        ModelRef(ledger.store.put(file), file.stem, "resnet20", {"width": width}, "", (), MEAN, STD) for file in files
    )
    merge_request = MergeRequest(nets, settings={"align": {"restarts": options.restarts, "sweeps": options.sweeps}})
    command = [sys.executable, "-m", "merging.jobs", "--home", str(home), "--device", "cpu", "--threads", "1"]
    room = {**os.environ, "MERGESCOPE_STORE_MB": str(ROOM)}
    with subprocess.Popen([*command, "--watch-stdin"], stdin=subprocess.PIPE, env=room) as running:
        job: Job | None = ledger.submit(merge_request, "benchmark")
        peak = 0
        while job is not None and job.open:
            peak = max(peak, held(running.pid))
            time.sleep(INTERVAL)
            job = ledger.job(merge_request.id)
        running.communicate()
    if job is None or job.state != "done":
        raise SystemExit(f"the job ended {job.state if job else 'gone'}: {job.error if job else ''}")
    return peak


def held(pid: int) -> int:
    """Bytes that a process and its descendants hold now, or the largest peak of one of them, whichever is more."""
    now, most = 0, 0
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                now += memory_of(process)
                most = max(most, peak_of(process.pid))
    return max(now, most)


def memory_of(process: psutil.Process) -> int:
    """Bytes of a process in memory; of a page that n processes share, 1/n where the system reports that."""
    info = process.memory_full_info()
    return int(getattr(info, "pss", info.rss))


def peak_of(pid: int) -> int:
    """Peak bytes of a process; 0 where the system does not report it."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def make(file: str, width: int, seed: int) -> None:
    """Write a ResNet-20 of this width with random weights, one tensor in memory at a time."""
    import torch

    from merging.network.lazy_tensors import LazyTensors
    from merging.zoo.architectures import build
    from merging.zoo.architectures.weightless import weightless
    from merging.zoo.checkpoints.metadata import Story
    from merging.zoo.checkpoints.streamed_writing import checkpoint_chunks

    config = {"width": width}
    with weightless():
        state = build("resnet20", config, MEAN, STD).state_dict()
    numbers = {name: number for number, name in enumerate(state)}

    def drawn(name: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1000 * seed + numbers[name])
        shape = state[name].shape
        if not state[name].is_floating_point():
            return torch.zeros(shape, dtype=state[name].dtype)
        noise = torch.randn(shape, generator=generator)
        if len(shape) > 1:  # as He et al. initialise
            return noise.mul_((2 / shape[1:].numel()) ** 0.5)
        return noise.mul_(0.1).add_(0.0 if name.endswith(("bias", "mean")) else 1.0)

    story = Story(f"seed {seed}", "resnet20", config, mean=MEAN, std=STD)
    with Path(file).open("wb") as opened:
        for chunk in checkpoint_chunks(state, LazyTensors(tuple(state), drawn), story, {}):
            opened.write(chunk)


if __name__ == "__main__":
    main()
