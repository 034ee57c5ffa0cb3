"""The reading process: `python -m merging.zoo.checkpoints.convert FOLDER` turns FOLDER/input into safetensors.

Only `sandbox` starts it. Before it opens the file it limits its own memory and CPU time, so that a hostile file can
crash only this process. It writes the file's networks and facts.json, or error.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from merging.errors import AmbiguousCheckpoint, MergescopeError, UnknownArchitecture
from merging.zoo.architectures.names import describe
from merging.zoo.checkpoints.checkpoint import Checkpoint, from_file, load_bytes
from merging.zoo.checkpoints.example import example_images
from merging.zoo.checkpoints.metadata import read_story
from merging.zoo.checkpoints.own import is_factory
from merging.zoo.checkpoints.programs import KnownProgram
from merging.zoo.checkpoints.reading import safetensors_io
from merging.zoo.checkpoints.reading.files import read_file
from merging.zoo.checkpoints.reading.limits import CHILD_SPARE
from merging.zoo.checkpoints.reading.opening import read_whole
from merging.zoo.datasets.load import available
from merging.zoo.datasets.own import seen_by
from merging.zoo.disposable import answer_with, limit_process


def main(folder: Path) -> int:
    """Carry out the order in order.json: "read" or "convert" its source. Returns the exit code."""
    order = json.loads((folder / "order.json").read_text("utf-8"))
    source = Path(order["source"])
    limit_process(5 * source.stat().st_size + CHILD_SPARE, order["seconds"])
    if order["task"] == "read":
        return answer_with(folder, lambda: _read(read_whole(source), folder))
    with seen_by(order["person"]):
        return answer_with(folder, lambda: _convert(read_whole(source), order, folder))


def convert_bytes(data: bytes, options: dict[str, Any], measure: bool = False) -> tuple[bytes, dict[str, Any]]:
    """Convert a checkpoint file's bytes to Mergescope's safetensors; also return its facts (`sandbox.Converted.facts`).

    options: those of `from_file`.  measure: whether to measure on the training data set, if its images are available.
    Raises CheckpointError, UnknownArchitecture, AmbiguousCheckpoint.
    """
    file = read_file(data)
    trained_on = options.get("dataset") or read_story(file.story).dataset
    if measure and trained_on and available(trained_on):
        options = {**options, "data": trained_on}
    loaded = from_file(file, "", **options)
    if loaded.program is not None:  # if this run crashes, only this process ends, not a worker
        with torch.no_grad():
            loaded.build()(example_images(loaded.architecture, loaded.config, loaded.dataset, len(loaded.mean)))
    return loaded.to_bytes(), _facts(loaded, file.format)


def _read(data: bytes, folder: Path) -> None:
    file = read_file(data)
    for number, loaded in enumerate(file.networks.values()):
        (folder / f"{number}.safetensors").write_bytes(
            safetensors_io.write_tensors(loaded.state, loaded.story, loaded.constants)
        )
    was = sorted({kind for loaded in file.networks.values() for kind in loaded.was})
    facts = {"networks": list(file.networks), "aside": file.aside, "format": file.format, "was": was}
    (folder / "facts.json").write_text(json.dumps(facts), "utf-8")


def _convert(data: bytes, order: dict[str, Any], folder: Path) -> None:
    if is_factory(order["options"].get("architecture")):  # the reading process must not run a user's code
        raise UnknownArchitecture("A factory cannot be used while an untrusted file is read.")
    options = {**order["options"], "programs": list(_programs(order["programs"]))}
    try:
        content, facts = convert_bytes(data, options, order["measure"])
    except AmbiguousCheckpoint as question:
        fields = ("architecture", "config", "label", "weights", "open", "measured")
        candidates = [{key: asdict(one)[key] for key in fields} for one in question.candidates]
        content, facts = b"", {"candidates": candidates, "why": question.why}
    (folder / "checkpoint.safetensors").write_bytes(content)
    (folder / "facts.json").write_text(json.dumps(facts), "utf-8")


def _programs(paths: Iterable[str]) -> Iterator[KnownProgram]:
    """Yield the known programs in these files; unreadable ones are skipped, because the upload may not need them."""
    for path in paths:
        with suppress(MergescopeError, OSError):
            program = load_bytes(Path(path).read_bytes()).program
            if program is not None:
                yield program


def _facts(loaded: Checkpoint, format: str) -> dict[str, Any]:
    numbers = [tensor.numel() for tensor in loaded.state.values() if tensor.is_floating_point()]
    statistics = [value.numel() for key, value in loaded.state.items() if key.endswith(("running_mean", "running_var"))]
    fields = (
        *("name", "architecture", "config", "dataset", "classes", "mean", "std", "seed", "epochs"),
        *("was", "weights", "aside", "why"),
    )
    return {
        **{key: getattr(loaded, key) for key in fields},
        "label": describe(loaded.architecture, loaded.config),
        "parameters": sum(numbers) - sum(statistics),
        "renamed": dict(loaded.renamed or {}),
        "format": format,
        "measured": [one.to_dict() for one in loaded.measured],
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
