"""Catalogue entry of a newly trained network, which becomes a model of the job's owner."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any

from merging.errors import MergescopeError
from merging.jobs.ledger.store import Content
from merging.jobs.privacy import ANYONE
from merging.jobs.requests.base import ModelRef, Request
from merging.jobs.requests.checks import TEXT
from merging.jobs.requests.train import TrainRequest
from merging.results import reports, saving
from merging.zoo.architectures.names import describe
from merging.zoo.catalogue import Entry, tested_images
from merging.zoo.checkpoints.metadata import Story, read_story
from merging.zoo.datasets.known import may_use

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def trained_entry(request: Request, owner: str, artifacts: Mapping[str, Content]) -> Entry:
    """Catalogue entry from the report and checkpoint of a training. Raises MergescopeError for any other job."""
    report_bytes, data = artifacts["report"], artifacts["checkpoint.safetensors"]
    report = saving.load(report_bytes) if isinstance(report_bytes, bytes) else None
    if not isinstance(report, reports.TrainReport) or not isinstance(data, bytes):
        raise MergescopeError(f"Job {request.id[:12]} is not a training. Run the training again.")
    header, story = _header(data)
    keys = ("architecture", "config", "dataset", "classes", "mean", "std", "seed", "epochs")
    return Entry(
        id="",
        name=report.name,
        sha256=report.checkpoint,
        **{key: getattr(story, key) for key in keys},
        label=describe(story.architecture, story.config),
        accuracy=report.accuracy,
        images=tested_images(story.dataset, story.classes),
        parameters=sum(math.prod(t["shape"]) for name, t in header.items() if not name.endswith(STATISTICS)),
        bytes=len(data),
        source="trained",
        command=train_command(request) if isinstance(request, TrainRequest) else "",
        notes=f"Trained on {report.images:,} images." if report.images else "",
        owner=owner,
        private=not may_use(story.dataset, ANYONE),
        created=time.time(),
    )


def trained_ref(data: bytes, sha256: str) -> ModelRef:
    """Reference to a network from the bytes of the checkpoint that a training stored, and their hash."""
    _, story = _header(data)
    built = (story.architecture, dict(story.config), story.dataset, story.classes, story.mean, story.std)
    return ModelRef(sha256, story.name[:TEXT], *built)


def _header(data: bytes) -> tuple[dict[str, Any], Story]:
    """Tensors of a safetensors file as its header describes them, and the file's metadata."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header, read_story(json.loads(header.pop("__metadata__")["mergescope"]))


def train_command(request: TrainRequest) -> str:
    """Shell command that repeats the training."""
    config = [f"--config {name}={option_text(value)}" for name, value in request.config.items()]
    words = ["python -m merging train", f"--architecture {request.architecture}", *config, f"--data {request.dataset}"]
    settings = [f"--set {name}={value}" for name, value in request.settings.items()]
    keep = [f"--keep {','.join(map(str, request.keep))}"] if request.keep else []
    start = [f"--start {request.start.sha256[:12]}.safetensors"] if request.start is not None else []
    return " ".join([*words, f"--epochs {request.epochs}", f"--seed {request.seed}", *settings, *keep, *start])


def option_text(value: object) -> str:
    """Configuration value in the syntax of the command line; a list with one item ends with a comma."""
    items = list(map(str, value)) if isinstance(value, (list, tuple)) else [str(value)]
    return f"{items[0]}," if isinstance(value, (list, tuple)) and len(items) == 1 else ",".join(items)
