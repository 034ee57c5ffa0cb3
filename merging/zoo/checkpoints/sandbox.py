"""Opening a foreign checkpoint in a process that may die of it. torch-free: the web process calls this.

The process limits its own memory and CPU time (Linux, macOS; Windows knows no such limits) and is ended by the clock
everywhere. What comes back is safetensors of checked float32 tensors, whatever went in.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merging import errors
from merging.paths import ROOT
from merging.zoo.checkpoints.reading.kinds import kind_of
from merging.zoo.checkpoints.reading.limits import CHILD_SECONDS


@dataclass(frozen=True)
class Converted:
    """data: a safetensors file with our metadata.  facts: name, architecture, config, label, dataset, classes, mean,
    std, seed, epochs, parameters, renamed (the file's tensor names -> ours), format ("torch.save" ...), was (its number
    types)."""

    data: bytes
    facts: dict[str, Any]


def convert(
    source: bytes | Path,
    *,
    name: str = "",
    architecture: str | None = None,
    config: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seconds: int = CHILD_SECONDS,
) -> Converted:
    """A checkpoint file of any known kind as checked safetensors, read in a process of its own; seconds: its time.

    name: what a person called it (never used as a path). The others: as for `load_checkpoint`.
    Raises CheckpointError, or UnknownArchitecture where no known net fits.
    """
    start = source[:300] if isinstance(source, bytes) else _start(source)
    kind_of(start, len(source) if isinstance(source, bytes) else source.stat().st_size)
    options = {
        "name": name,
        "architecture": architecture,
        "config": dict(config or {}),
        "dataset": dataset,
        "mean": mean,
        "std": std,
    }
    with tempfile.TemporaryDirectory(prefix="mergescope-") as made:
        folder = Path(made)
        path = folder / "input" if isinstance(source, bytes) else source.resolve()
        if isinstance(source, bytes):
            path.write_bytes(source)
        order = {**options, "source": str(path), "seconds": seconds}
        (folder / "options.json").write_text(json.dumps(order), "utf-8")
        _run(folder, seconds)
        return _answer(folder)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(300)


def _run(folder: Path, seconds: int) -> None:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "merging.zoo.checkpoints.convert", str(folder)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise errors.CheckpointError(f"Reading the file took more than {seconds} seconds and was stopped.") from error
    if done.returncode != 0:
        raise errors.CheckpointError(
            "The file could not be read: the process that opened it ran out of memory or time, or met damaged data. "
            "Save the plain state dict again, best as safetensors."
        )


def _answer(folder: Path) -> Converted:
    refused = folder / "error.json"
    if refused.exists():
        told = json.loads(refused.read_text("utf-8"))
        kind = getattr(errors, told["kind"], errors.CheckpointError)
        raise kind(told["text"])
    facts = json.loads((folder / "facts.json").read_text("utf-8"))
    return Converted((folder / "checkpoint.safetensors").read_bytes(), facts)
