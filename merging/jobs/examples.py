"""Makes the finished runs that come with the program (assets/runs), by the same tasks as any worker.

Every preset as the merge form asks for it, a pair with a shared beginning that needs no alignment, the pictures that a
first look at two presets' neurons shows, what the studies found, and a partial zip. What is not shipped is listed with
its hash: asking again makes it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merging.errors import DataUnavailable
from merging.jobs.ledger.shipped_runs import RUNS
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.pictures import PicturesRequest
from merging.jobs.requests.study import StudyRequest
from merging.jobs.requests.zip_networks import ZipRequest
from merging.jobs.tasks.payload import Payload
from merging.jobs.tasks.run import run_task
from merging.progress import Progress, no_progress
from merging.results import saving
from merging.zoo.catalogue import Preset, find, presets, shipped_file
from merging.zoo.datasets.fingerprint import fingerprint, load_splits

DATASET = "fashion-mnist"
SHARED = Preset(
    key="shared",
    title="A shared beginning",
    text="",
    a="fashion-cnn-shared-a",
    b="fashion-cnn-shared-b",
    align="none",
    combine="average",
    correct="none",
)
NETWORKS = ("merge.safetensors", "naive.safetensors")
SHIPPED = ("report", "permutation.npz", *NETWORKS)  # pi(B) is made when asked for: B and the permutation tell it
IMAGES = 2_000  # as the form has it, so that asking for what it shows finds the example
LOOKED_INTO = {"mlps": "layers.2", "cnns": "features.6"}  # preset -> the layer whose first pictures are shipped
UNITS = tuple(range(16))
ANSWERED: dict[str, tuple[str, ...]] = {  # preset -> the studies whose findings are shipped
    "mlps": ("why", "along", "aligners", "similarity", "landscape", "lab", "layer", "units"),
    "cnns": ("why", "along", "aligners", "similarity", "landscape", "lab", "layer", "units", "film", "evidence"),
    "batch-norm": ("why",),
}
HEADS = ("fashion-head-low", "fashion-head-high")
OF_A_LAYER = ("layer", "units", "film")
ALL_UNITS = {"units": 100_000, "layers": 100_000}  # the evidence is shipped of a sample and of all


@dataclass(frozen=True)
class Example:
    """A run to ship: what is asked, the checkpoints it reads, and which artifacts are shipped (none named: all)."""

    request: MergeRequest | PicturesRequest | StudyRequest | ZipRequest
    checkpoints: tuple[bytes, ...]
    shipped: tuple[str, ...] = ()
    artifacts: dict[str, bytes] = field(default_factory=dict)  # of the merge that is studied


def merges() -> dict[str, MergeRequest]:
    """Preset key -> the request that the merge form makes of it. Raises DataUnavailable without the images."""
    data = fingerprint(DATASET, IMAGES)
    if not data:
        raise DataUnavailable(f"The examples are made with the images of {DATASET}, which are not on this machine.")
    return {
        preset.key: MergeRequest(
            models=(ModelRef.of(find(preset.a)), ModelRef.of(find(preset.b))),
            align=preset.align,
            combine=preset.combine,
            correct=preset.correct,
            dataset=DATASET,
            data_sha256=data,
            images=IMAGES,
        )
        for preset in (*presets(), SHARED)
    }


def heads() -> Example:
    """The zip of the pair whose heads know different classes, as the page Zip asks for it."""
    models = tuple(ModelRef.of(find(id)) for id in HEADS)
    request = ZipRequest(models, DATASET, fingerprint(DATASET, IMAGES), images=IMAGES)
    return Example(request, tuple(_bytes(model.sha256) for model in models))


def make(out: Path = RUNS, report: Progress = no_progress) -> Path:
    """Make all examples into the folder, in place of what was there, on the CPU with one thread; gives the folder."""
    shutil.rmtree(out, ignore_errors=True)
    _make(heads(), out, report)
    for key, request in merges().items():
        read = tuple(_bytes(model.sha256) for model in request.models)
        made = _make(Example(request, read, SHIPPED), out, report)
        if key in LOOKED_INTO:
            for example in _pictures(request, read, made, LOOKED_INTO[key]):
                _make(example, out, report)
        for study in studies(request, key):
            _make(Example(study, read, artifacts=made), out, report)
    return out


def studies(request: MergeRequest, key: str) -> Iterator[StudyRequest]:
    """What is asked of a preset's merge, for its findings are shipped."""
    for study in ANSWERED.get(key, ()):
        yield StudyRequest(request, study, {"layer": LOOKED_INTO[key]} if study in OF_A_LAYER else {})
        if study == "evidence":
            yield StudyRequest(request, study, ALL_UNITS)


def _pictures(request: MergeRequest, read: tuple[bytes, ...], made: dict[str, bytes], layer: str) -> Iterator[Example]:
    """What the first pages of Neurons show: A's, the merge's and the naive average's first units, and of B those that
    were matched to A's (pi(B)'s pictures are theirs) and those that stood in the same slots."""
    a, b = request.models
    partner = next(facts.partner for facts in saving.load(made["report"]).units if facts.layer == layer)
    matched = tuple(int(unit) for unit in partner[list(UNITS)])
    yield Example(PicturesRequest(a, layer, UNITS), read[:1])
    yield Example(PicturesRequest(b, layer, matched), read[1:])
    yield Example(PicturesRequest(b, layer, UNITS), read[1:])
    told = {key: getattr(a, key) for key in ("architecture", "config", "dataset", "classes", "mean", "std")}
    for name in NETWORKS:
        model = ModelRef(hashlib.sha256(made[name]).hexdigest(), name.removesuffix(".safetensors"), **told)
        yield Example(PicturesRequest(model, layer, UNITS), (made[name],))


def _make(example: Example, out: Path, report: Progress) -> dict[str, bytes]:
    request, stages, created = example.request, list[tuple[str, str, float]](), time.time()

    def logged(stage: str, fraction: float | None = None, message: str = "") -> None:
        if not stages or stages[-1][0] != stage:
            stages.append((stage, message, time.time()))
        stages[-1] = (stage, message or stages[-1][1], stages[-1][2])
        report(stage, fraction, f"{request.title}: {message}")

    images = {} if isinstance(request, PicturesRequest) else load_splits(DATASET, IMAGES)
    payload = Payload(request.to_json(), example.checkpoints, images, "cpu", 1, example.artifacts)
    made = run_task(request.kind, payload, logged)
    folder = out / request.id
    folder.mkdir(parents=True)
    for name, data in made.items():
        if not example.shipped or name in example.shipped:
            (folder / name).write_bytes(data)
    ends = [began for _, _, began in stages[1:]] + [time.time()]
    entry: dict[str, Any] = {
        "title": request.title,
        "request": json.loads(request.to_json()),
        "created": created,
        "started": created,
        "finished": time.time(),
        "stages": [(stage, words, end - began) for (stage, words, began), end in zip(stages, ends, strict=True)],
        "artifacts": {name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in made.items()},
    }
    text = json.dumps(entry, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / "job.json").write_text(text + "\n", "utf-8")
    return made


def _bytes(sha256: str) -> bytes:
    path = shipped_file(sha256)
    if path is None:
        raise DataUnavailable(f"The checkpoint {sha256[:12]} is not among the shipped ones.")
    return path.read_bytes()
