"""Generates the finished runs that are shipped with the program (assets/runs), with the tasks that workers also run.

The runs are: a merge for every preset and for the further pairs of the lessons, with the settings of the merge form;
for two presets the pictures on the first view of Neurons and those of the classes; findings of studies; a partial zip
(ZipIt!); and the report of the lessons' sweep over the width. Artifacts that are not shipped are listed with
their hashes; running the request again creates them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from merging.errors import DataUnavailable
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.shipped_runs import RUNS
from merging.jobs.requests.base import ModelRef, Request
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.pictures import MAX_UNITS, PicturesRequest
from merging.jobs.requests.study import StudyRequest
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.requests.zip_networks import ZipRequest
from merging.jobs.sweeps.lab import lab_sweep
from merging.jobs.tasks.machine import configure_torch
from merging.jobs.tasks.payload import Payload
from merging.jobs.tasks.run import run_task
from merging.progress import Progress, no_progress
from merging.results import saving
from merging.studies.evidence import ALL_UNITS
from merging.zoo.catalogue import example_pairs, find_entry, shipped_file
from merging.zoo.datasets.fingerprint import fingerprint, load_splits

DATASET = "fashion-mnist"
NETWORKS = ("merge.safetensors", "naive.safetensors")
SHIPPED = ("report", "permutation.npz", *NETWORKS)  # pi(B) is computed from B and the permutation when needed
IMAGES = 2_000  # default of the merge form, so that submitting the unchanged form finds the shipped run
LOOKED_INTO = {"mlps": "layers.2", "cnns": "features.6"}  # preset -> layer; pictures of its units are shipped
UNITS = 64  # two contact sheets: the units of A that match their partners best
EVERY = ("why", "along", "aligners", "similarity", "landscape", "lab", "layer", "units", "ablation")
ANSWERED: dict[str, tuple[str, ...]] = {  # preset -> the studies whose findings are shipped
    "mlps": EVERY,
    "cnns": (*EVERY, "film", "evidence"),
    "batch-norm": ("why",),
    "residual": ("why",),
}
HEADS = ("fashion-head-low", "fashion-head-high")
OF_A_LAYER = ("layer", "units", "film", "ablation")


@dataclass(frozen=True)
class Example:
    """A run to ship.

    Attributes:
        request: the run's request.
        checkpoints: safetensors bytes, in the order of the request's checkpoints.
        shipped: names of the artifacts to ship; empty for all.
        artifacts: name -> bytes, artifacts of the merge, which a study reads.
    """

    request: MergeRequest | PicturesRequest | StudyRequest | ZipRequest
    checkpoints: tuple[bytes, ...]
    shipped: tuple[str, ...] = ()
    artifacts: dict[str, bytes] = field(default_factory=dict)


def merges() -> dict[str, MergeRequest]:
    """Preset key -> merge request, as the merge form makes it. Raises DataUnavailable if the images are missing."""
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
        for preset in example_pairs()
    }


def heads() -> Example:
    """Example of a partial zip (ZipIt!): networks with different classes, zipped with the settings of the zip page."""
    models = tuple(ModelRef.of(find_entry(id)) for id in HEADS)
    request = ZipRequest(models, DATASET, fingerprint(DATASET, IMAGES), images=IMAGES)
    return Example(request, tuple(_bytes(model.sha256) for model in models))


def make(out: Path = RUNS, report: Progress = no_progress, *, missing: bool = False) -> Path:
    """Compute the examples on the CPU with one thread, delete all other runs in `out`, and return `out`.

    missing: whether to keep the examples that `out` already holds; otherwise all are computed again.
    """
    configure_torch(1)
    if not missing:
        shutil.rmtree(out, ignore_errors=True)
    wanted = {_make(heads(), out, report)[0], _make_sweep(lab_sweep(), out, report)}
    for key, request in merges().items():
        checkpoints = tuple(_bytes(model.sha256) for model in request.models)
        id, artifacts = _make(Example(request, checkpoints, SHIPPED), out, report)
        looks = _pictures(request, checkpoints, artifacts, LOOKED_INTO[key]) if key in LOOKED_INTO else ()
        studies = (Example(study, checkpoints, artifacts=artifacts) for study in example_studies(request, key))
        wanted |= {id, *(_make(example, out, report)[0] for example in (*looks, *studies))}
    for folder in out.iterdir():
        if folder.name not in wanted:
            shutil.rmtree(folder)
    return out


def example_studies(request: MergeRequest, key: str) -> Iterator[StudyRequest]:
    """Requests for those studies of one preset's merge whose findings are shipped."""
    for study in ANSWERED.get(key, ()):
        yield StudyRequest(request, study, {"layer": LOOKED_INTO[key]} if study in OF_A_LAYER else {})
        if study == "evidence":  # of a sample of units, and of all
            yield StudyRequest(request, study, ALL_UNITS)


def _make_sweep(request: SweepRequest, out: Path, report: Progress) -> str:
    """Run the sweep unless `out` holds it; return its id. Only its report is shipped, not its trainings and merges."""
    folder = out / request.id
    if (folder / "job.json").is_file():
        return folder.name
    from merging.jobs.worker.engine import Plan
    from merging.jobs.worker.here import run_sweep

    with tempfile.TemporaryDirectory() as scratch:
        ledger = Ledger(Path(scratch))
        found = run_sweep(ledger, request, "examples", Plan("cpu", 1, os.cpu_count() or 1), report)
        job = ledger.local_run(request.id)
    assert job is not None and job.started is not None and job.finished is not None
    stages = [("sweeping", "", job.finished - job.started)]
    _write(folder, request, {"report": saving.save(found)}, stages, job.started, ("report",))
    return folder.name


def _pictures(
    request: MergeRequest, checkpoints: tuple[bytes, ...], artifacts: dict[str, bytes], layer: str
) -> Iterator[Example]:
    """Examples for the pictures on two views of Neurons.

    On the first view: the best matched units in A, in the merge and in the naive average, B's units that are matched to
    them, and B's units of the same numbers. On the view of classes: the logits of every network.
    """
    a, b = request.models
    report = saving.load(artifacts["report"])
    facts = next(facts for facts in report.units if facts.layer == layer)
    best = [int(unit) for unit in np.argsort(-facts.match, kind="stable")[:UNITS]]  # dead units, which are NaN, last
    of_b = dict.fromkeys([int(facts.partner[unit]) for unit in best] + best)
    facts_of_a = {key: getattr(a, key) for key in ("architecture", "config", "dataset", "classes", "mean", "std")}
    nets = [(a, checkpoints[0], best), (b, checkpoints[1], list(of_b))]
    for name in NETWORKS:
        model = ModelRef(hashlib.sha256(artifacts[name]).hexdigest(), name.removesuffix(".safetensors"), **facts_of_a)
        nets.append((model, artifacts[name], best))
    logits = report.layers[-1]
    for model, checkpoint, numbers in nets:
        for shown, units in ((layer, numbers), (logits.name, range(logits.units))):
            for first in range(0, len(units), MAX_UNITS):
                part = tuple(units[first : first + MAX_UNITS])
                yield Example(PicturesRequest(model, shown, part), (checkpoint,))


def _make(example: Example, out: Path, report: Progress) -> tuple[str, dict[str, bytes]]:
    """Compute an example unless `out` holds it; return its id and artifacts (if it was held, the shipped ones)."""
    folder = out / example.request.id
    if (folder / "job.json").is_file():
        return folder.name, {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "job.json"}
    request, stages, created = example.request, list[tuple[str, str, float]](), time.time()

    def logged(stage: str, fraction: float | None = None, message: str = "") -> None:
        if not stages or stages[-1][0] != stage:
            stages.append((stage, message, time.time()))
        stages[-1] = (stage, message or stages[-1][1], stages[-1][2])
        report(stage, fraction, f"{request.title}: {message}")

    images = {} if isinstance(request, PicturesRequest) else load_splits(DATASET, IMAGES)
    payload = Payload(request.to_json(), example.checkpoints, images, "cpu", 1, example.artifacts)
    artifacts = run_task(request.kind, payload, logged)
    ends = [began for _, _, began in stages[1:]] + [time.time()]
    spent = [(stage, words, end - began) for (stage, words, began), end in zip(stages, ends, strict=True)]
    _write(folder, request, artifacts, spent, created, example.shipped)
    return request.id, artifacts


def _write(
    folder: Path,
    request: Request,
    artifacts: dict[str, bytes],
    stages: list[tuple[str, str, float]],
    created: float,
    shipped: tuple[str, ...],
) -> None:
    """Write a run. stages: (stage, last message, seconds).  shipped: names of the artifacts to write; empty for all."""
    folder.mkdir(parents=True)
    for name, data in artifacts.items():
        if not shipped or name in shipped:
            (folder / name).write_bytes(data)
    entry: dict[str, Any] = {
        "title": request.title,
        "request": json.loads(request.to_json()),
        "created": created,
        "started": created,
        "finished": created + sum(seconds for _, _, seconds in stages),
        "stages": stages,
        "artifacts": {name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in artifacts.items()},
    }
    text = json.dumps(entry, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / "job.json").write_text(text + "\n", "utf-8")


def _bytes(sha256: str) -> bytes:
    path = shipped_file(sha256)
    if path is None:
        raise DataUnavailable(f"{sha256[:12]} is not among the shipped checkpoints. Install the program again.")
    return path.read_bytes()
