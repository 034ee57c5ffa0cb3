"""The reading process: `python -m merging.zoo.checkpoints.convert FOLDER` turns FOLDER/input into safetensors.

It is started by `sandbox` alone. Before it opens the file it limits its own memory and CPU time, so that a hostile
file can take down nothing but this process. It writes checkpoint.safetensors and facts.json, or error.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from merging.errors import MergescopeError
from merging.zoo.architectures.names import describe
from merging.zoo.checkpoints.checkpoint import Checkpoint, load_bytes
from merging.zoo.checkpoints.reading import safetensors_io, torch_zip
from merging.zoo.checkpoints.reading.kinds import kind_of
from merging.zoo.checkpoints.reading.limits import CHILD_SPARE
from merging.zoo.checkpoints.reading.tensors import checked


def main(folder: Path) -> int:
    """Convert the file of one order; options.json holds the keyword arguments of `load_bytes`. Gives the exit code."""
    options = json.loads((folder / "options.json").read_text("utf-8"))
    source, seconds = Path(options.pop("source")), options.pop("seconds")
    _limit(source.stat().st_size, seconds)
    try:
        data, facts = convert(source.read_bytes(), options)
    except MergescopeError as error:
        told = {"kind": type(error).__name__, "text": str(error)}
        (folder / "error.json").write_text(json.dumps(told), "utf-8")
        return 0
    (folder / "checkpoint.safetensors").write_bytes(data)
    (folder / "facts.json").write_text(json.dumps(facts), "utf-8")
    return 0


def convert(data: bytes, options: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """A checkpoint file's bytes as our safetensors, and facts. Raises CheckpointError, UnknownArchitecture."""
    kind = kind_of(data)
    if kind == "torch.save":
        loaded = checked(torch_zip.load(data))
        data = safetensors_io.write(loaded.state, {})
        was = loaded.was
    else:
        was = safetensors_io.read(data).was
    found = load_bytes(data, **options)
    return found.to_bytes(), _facts(found, kind, was)


def _facts(found: Checkpoint, kind: str, was: tuple[str, ...]) -> dict[str, Any]:
    numbers = [tensor.numel() for tensor in found.state.values() if tensor.is_floating_point()]
    statistics = [value.numel() for key, value in found.state.items() if key.endswith(("running_mean", "running_var"))]
    return {
        "name": found.name,
        "architecture": found.architecture,
        "config": found.config,
        "label": describe(found.architecture, found.config),
        "dataset": found.dataset,
        "classes": found.classes,
        "mean": found.mean,
        "std": found.std,
        "seed": found.seed,
        "epochs": found.epochs,
        "parameters": sum(numbers) - sum(statistics),
        "renamed": dict(found.renamed or {}),
        "format": kind,
        "was": was,
    }


def _limit(size: int, seconds: int) -> None:
    """Bound this process's memory (by the file's size) and CPU time; Windows has no such limits, and the parent's
    clock alone ends it there."""
    if sys.platform == "win32":
        return
    import resource

    pages = Path("/proc/self/statm")  # where there is none (macOS) the program itself is taken for 4 GB
    used = int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else 4_000_000_000
    for kind, limit in ((resource.RLIMIT_AS, used + 5 * size + CHILD_SPARE), (resource.RLIMIT_CPU, seconds)):
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(kind, (allowed, allowed))
        except ValueError:  # macOS refuses some of them; the parent's clock still ends this process
            continue


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
