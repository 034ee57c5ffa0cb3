"""Opening a foreign checkpoint in a process that may die of it. torch-free: the web process calls this.

What comes back is safetensors of checked tensors, whatever went in.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merging.errors import CheckpointError
from merging.zoo.checkpoints.candidates import Candidate, ambiguous
from merging.zoo.checkpoints.reading.kinds import kind_of
from merging.zoo.checkpoints.reading.limits import CHILD_SECONDS
from merging.zoo.checkpoints.reading.opening import read_start
from merging.zoo.disposable import Waiting, in_silence, run_disposable

MODULE = "merging.zoo.checkpoints.convert"


@dataclass(frozen=True)
class Converted:
    """data: a safetensors file with our metadata.  facts: name, architecture, config, label, dataset, classes, mean,
    std, seed, epochs, parameters, renamed (the file's tensor names -> ours), format ("torch.save" ...), was (its number
    types), weights, aside, why and measured as of `Checkpoint`."""

    data: bytes
    facts: dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """networks: where each stands in the file -> its tensors under the file's own names, as safetensors."""

    networks: dict[str, bytes]
    aside: tuple[str, ...]
    format: str
    was: tuple[str, ...]


def convert(
    source: bytes | Path,
    *,
    name: str = "",
    architecture: str | None = None,
    config: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    data: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    weights: str = "",
    measure: bool = False,
    programs: Sequence[Path] = (),
    seconds: int = CHILD_SECONDS,
    waiting: Waiting = in_silence,
) -> Converted:
    """A checkpoint file of any known kind as checked safetensors, read in a process of its own.

    seconds: of processor time.  waiting: told how many files go first, where it has to wait for its turn.
    name: what a person called it (never used as a path).  data: a data set's name, to measure on; measure: on the one
    that it was trained on, where its images are here.  programs: files of known exported programs, as this function
    gave them, that the file may be another seed of.  The others: as for `load_checkpoint`.
    Raises CheckpointError, UnknownArchitecture where no known net fits, AmbiguousCheckpoint where several do.
    """
    options = {
        "name": name,
        "architecture": architecture,
        "config": dict(config or {}),
        "dataset": dataset,
        "data": data,
        "mean": mean,
        "std": std,
        "weights": weights,
    }
    order = {"task": "convert", "options": options, "measure": measure, "programs": list(map(str, programs))}
    with _answer(source, order, seconds, waiting) as folder:
        facts = json.loads((folder / "facts.json").read_text("utf-8"))
        if "candidates" in facts:
            raise ambiguous([Candidate(**candidate) for candidate in facts["candidates"]], facts["why"])
        return Converted((folder / "checkpoint.safetensors").read_bytes(), facts)


def read(source: bytes | Path, *, seconds: int = CHILD_SECONDS) -> Parts:
    """All networks of a file under the file's own names, read in a process of its own. Raises CheckpointError."""
    with _answer(source, {"task": "read"}, seconds) as folder:
        facts = json.loads((folder / "facts.json").read_text("utf-8"))
        networks = {
            place: (folder / f"{number}.safetensors").read_bytes() for number, place in enumerate(facts["networks"])
        }
        return Parts(networks, tuple(facts["aside"]), facts["format"], tuple(facts["was"]))


@contextmanager
def _answer(source: bytes | Path, order: dict[str, Any], seconds: int, waiting: Waiting = in_silence) -> Iterator[Path]:
    """The folder in which the process left its answer to the order."""
    kind_of(*((source[:300], len(source)) if isinstance(source, bytes) else read_start(source)))
    late = CheckpointError(f"Reading the file took more than {seconds} seconds and was stopped.")
    dead = CheckpointError(
        "The file could not be read: the process that opened it ran out of memory or time, or met damaged data. "
        "Save the plain state dict again, best as safetensors."
    )
    with tempfile.TemporaryDirectory(prefix="mergescope-") as made:
        folder = Path(made)
        path = folder / "input" if isinstance(source, bytes) else source.resolve()
        if isinstance(source, bytes):
            path.write_bytes(source)
        (folder / "order.json").write_text(json.dumps({**order, "source": str(path), "seconds": seconds}), "utf-8")
        run_disposable(MODULE, folder, seconds, late, dead, waiting)
        yield folder
