"""Open an untrusted checkpoint in a separate process that may crash. torch-free: the web process calls this.

The result is always a safetensors file of checked tensors, whatever kind of file was opened.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merging.errors import CheckpointError, UnknownArchitecture
from merging.zoo.checkpoints.candidates import Candidate, ambiguous, check_normalisation
from merging.zoo.checkpoints.reading.kinds import kind_of
from merging.zoo.checkpoints.reading.limits import CHILD_SECONDS
from merging.zoo.checkpoints.reading.opening import read_start
from merging.zoo.disposable import Waiting, in_silence, run_disposable
from merging.zoo.forking import CAN_FORK, ForkServer

MODULE = "merging.zoo.checkpoints.convert"
_server = ForkServer(MODULE)


@dataclass(frozen=True)
class Converted:
    """A checkpoint that the reading process converted.

    Attributes:
        data: a safetensors file with Mergescope's metadata.
        facts: JSON values: label, parameters (their number), format ("torch.save" ...); and, as in `Checkpoint`: name,
            architecture, config, dataset, classes, mean, std, seed, epochs, renamed, was, weights, aside, why and
            measured.
    """

    data: bytes
    facts: dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """All networks of a file.

    Attributes:
        networks: path inside the file -> a safetensors file of the network's tensors under the file's own names.
        aside: keys of everything else in the file.
        format: the writer of the file, such as "torch.save".
        was: the floating-point types in the file.
    """

    networks: dict[str, bytes]
    aside: tuple[str, ...]
    format: str
    was: tuple[str, ...]


def start_reader() -> None:
    """Start the process that forks the reading processes, so that the first file is read seconds sooner."""
    if CAN_FORK:
        _server.prepare()


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
    person: str = "",
    seconds: int = CHILD_SECONDS,
    waiting: Waiting = in_silence,
) -> Converted:
    """Convert a checkpoint file of any known kind to checked safetensors, in a separate process.

    Args:
        name: the user's name for the checkpoint; it is never used as a path.
        data: name of a data set to measure on.
        measure: whether to measure on the training data set, if its images are available.
        programs: converted files (`Converted.data`) of exported programs that `source` may hold other weights of.
        person: who brings the file; images that this person may not use are not found. "": everybody's are.
        seconds: limit on processor time.
        waiting: called with the number of files ahead, while the conversion waits for its turn.
        architecture, config, dataset, mean, std, weights: as for `load_checkpoint`.
    Raises CheckpointError, UnknownArchitecture (no known network fits) or AmbiguousCheckpoint (several fit).
    """
    if architecture is not None and ":" in architecture:
        raise UnknownArchitecture(
            f"No architecture is called {architecture[:80]!r}. A function of your own that builds the network can "
            "only be named on the command line and in Python; here, bring the network as an exported program."
        )
    check_normalisation(mean, std)
    options: dict[str, Any] = {"name": name, "architecture": architecture, "config": dict(config or {})}
    options |= {"dataset": dataset, "data": data, "mean": mean, "std": std, "weights": weights}
    order = {"task": "convert", "options": options, "measure": measure, "person": person}
    order["programs"] = list(map(str, programs))
    with _answer(source, order, seconds, waiting, person) as folder:
        facts = json.loads((folder / "facts.json").read_text("utf-8"))
        if "candidates" in facts:
            raise ambiguous([Candidate(**candidate) for candidate in facts["candidates"]], facts["why"])
        return Converted((folder / "checkpoint.safetensors").read_bytes(), facts)


def read_networks(source: bytes | Path, *, seconds: int = CHILD_SECONDS) -> Parts:
    """Read all networks of a file under the file's own names, in a separate process. Raises CheckpointError."""
    with _answer(source, {"task": "read"}, seconds) as folder:
        facts = json.loads((folder / "facts.json").read_text("utf-8"))
        networks = {
            place: (folder / f"{number}.safetensors").read_bytes() for number, place in enumerate(facts["networks"])
        }
        return Parts(networks, tuple(facts["aside"]), facts["format"], tuple(facts["was"]))


@contextmanager
def _answer(
    source: bytes | Path, order: dict[str, Any], seconds: int, waiting: Waiting = in_silence, person: str = ""
) -> Iterator[Path]:
    """Run the reading process on an order; yield the folder with its answer."""
    kind_of(*((source[:300], len(source)) if isinstance(source, bytes) else read_start(source)))
    late = CheckpointError(f"Reading the file took more than {seconds} seconds and was stopped.")
    dead = CheckpointError(
        "The file could not be read: the process that opened it ran out of memory or time, or met damaged data. "
        "Save the plain state dict again, preferably as safetensors."
    )
    with tempfile.TemporaryDirectory(prefix="mergescope-") as temporary:
        folder = Path(temporary)
        path = folder / "input" if isinstance(source, bytes) else source.resolve()
        if isinstance(source, bytes):
            path.write_bytes(source)
        (folder / "order.json").write_text(json.dumps({**order, "source": str(path), "seconds": seconds}), "utf-8")
        run_disposable(MODULE, folder, seconds, late, dead, waiting, person, _server)
        yield folder
