"""Generation of the finished runs that are shipped with the program (assets/runs), by the same tasks as on a worker.

The runs are: every preset with the settings of the merge form; a pair with a shared beginning, which needs no
alignment; the pictures on the first page of Neurons for two presets; findings of studies; and a partial zip (ZipIt!).
Artifacts that are not shipped are listed with their hash; submitting the request again makes them.
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
from merging.zoo.catalogue import Preset, find_entry, presets, shipped_file
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
SHIPPED = ("report", "permutation.npz", *NETWORKS)  # pi(B) is computed from B and the permutation when needed
IMAGES = 2_000  # the default of the merge form, so that submitting it unchanged finds the example
LOOKED_INTO = {"mlps": "layers.2", "cnns": "features.6"}  # preset -> the layer whose first pictures are shipped
UNITS = tuple(range(16))
ANSWERED: dict[str, tuple[str, ...]] = {  # preset -> the studies whose findings are shipped
    "mlps": ("why", "along", "aligners", "similarity", "landscape", "lab", "layer", "units"),
    "cnns": ("why", "along", "aligners", "similarity", "landscape", "lab", "layer", "units", "film", "evidence"),
    "batch-norm": ("why",),
}
HEADS = ("fashion-head-low", "fashion-head-high")
OF_A_LAYER = ("layer", "units", "film")
ALL_UNITS = {"units": 100_000, "layers": 100_000}  # evidence is shipped for a sample and for all units


@dataclass(frozen=True)
class Example:
    """A run to ship.

    Attributes:
        request: of the run.
        checkpoints: safetensors bytes, in the order of the request's checkpoints.
        shipped: names of the artifacts to ship; empty for all.
        artifacts: of the merge that a study reads.
    """

    request: MergeRequest | PicturesRequest | StudyRequest | ZipRequest
    checkpoints: tuple[bytes, ...]
    shipped: tuple[str, ...] = ()
    artifacts: dict[str, bytes] = field(default_factory=dict)


def merges() -> dict[str, MergeRequest]:
    """Preset key -> its request, as the merge form makes it. Raises DataUnavailable without the images."""
    data = fingerprint(DATASET, IMAGES)
    if not data:
        raise DataUnavailable(
            f"The examples need the images of {DATASET}, which are not on this machine. Download them first."
        )
    return {
        preset.key: MergeRequest(
            models=(ModelRef.of(find_entry(preset.a)), ModelRef.of(find_entry(preset.b))),
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
    """The partial zip (ZipIt!) of the pair whose heads have different classes, with the settings of its page."""
    models = tuple(ModelRef.of(find_entry(id)) for id in HEADS)
    request = ZipRequest(models, DATASET, fingerprint(DATASET, IMAGES), images=IMAGES)
    return Example(request, tuple(_bytes(model.sha256) for model in models))


def make(out: Path = RUNS, report: Progress = no_progress) -> Path:
    """Make all examples on the CPU with one thread; they replace the contents of the folder. Returns the folder."""
    shutil.rmtree(out, ignore_errors=True)
    _make(heads(), out, report)
    for key, request in merges().items():
        checkpoints = tuple(_bytes(model.sha256) for model in request.models)
        artifacts = _make(Example(request, checkpoints, SHIPPED), out, report)
        if key in LOOKED_INTO:
            for example in _pictures(request, checkpoints, artifacts, LOOKED_INTO[key]):
                _make(example, out, report)
        for study in example_studies(request, key):
            _make(Example(study, checkpoints, artifacts=artifacts), out, report)
    return out


def example_studies(request: MergeRequest, key: str) -> Iterator[StudyRequest]:
    """Requests of the studies whose findings are shipped, for one preset's merge."""
    for study in ANSWERED.get(key, ()):
        yield StudyRequest(request, study, {"layer": LOOKED_INTO[key]} if study in OF_A_LAYER else {})
        if study == "evidence":
            yield StudyRequest(request, study, ALL_UNITS)


def _pictures(
    request: MergeRequest, checkpoints: tuple[bytes, ...], artifacts: dict[str, bytes], layer: str
) -> Iterator[Example]:
    """Pictures of the first page of Neurons.

    They show the first units of A, the merge and the naive average, and two groups of B's units: the partners of A's
    units, whose pictures are also pi(B)'s, and the units at the same positions.
    """
    a, b = request.models
    partner = next(facts.partner for facts in saving.load(artifacts["report"]).units if facts.layer == layer)
    matched = tuple(int(unit) for unit in partner[list(UNITS)])
    yield Example(PicturesRequest(a, layer, UNITS), checkpoints[:1])
    yield Example(PicturesRequest(b, layer, matched), checkpoints[1:])
    yield Example(PicturesRequest(b, layer, UNITS), checkpoints[1:])
    facts_of_a = {key: getattr(a, key) for key in ("architecture", "config", "dataset", "classes", "mean", "std")}
    for name in NETWORKS:
        model = ModelRef(hashlib.sha256(artifacts[name]).hexdigest(), name.removesuffix(".safetensors"), **facts_of_a)
        yield Example(PicturesRequest(model, layer, UNITS), (artifacts[name],))


def _make(example: Example, out: Path, report: Progress) -> dict[str, bytes]:
    request, stages, created = example.request, list[tuple[str, str, float]](), time.time()

    def logged(stage: str, fraction: float | None = None, message: str = "") -> None:
        if not stages or stages[-1][0] != stage:
            stages.append((stage, message, time.time()))
        stages[-1] = (stage, message or stages[-1][1], stages[-1][2])
        report(stage, fraction, f"{request.title}: {message}")

    images = {} if isinstance(request, PicturesRequest) else load_splits(DATASET, IMAGES)
    payload = Payload(request.to_json(), example.checkpoints, images, "cpu", 1, example.artifacts)
    artifacts = run_task(request.kind, payload, logged)
    folder = out / request.id
    folder.mkdir(parents=True)
    for name, data in artifacts.items():
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
        "artifacts": {name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in artifacts.items()},
    }
    text = json.dumps(entry, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / "job.json").write_text(text + "\n", "utf-8")
    return artifacts


def _bytes(sha256: str) -> bytes:
    path = shipped_file(sha256)
    if path is None:
        raise DataUnavailable(f"The checkpoint {sha256[:12]} is not among the shipped ones. Install the program again.")
    return path.read_bytes()
