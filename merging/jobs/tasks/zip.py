"""The zip task: one alignment by ZipIt!, then every place at which the shared trunk may end, measured."""

from __future__ import annotations

import json
from dataclasses import replace

from merging.analysis.path.heads import measure
from merging.errors import DataUnavailable
from merging.jobs.requests.zip_networks import ZipRequest
from merging.jobs.tasks.common import Clock, batches, build, device_of
from merging.jobs.tasks.machine import machine
from merging.jobs.tasks.payload import Payload
from merging.pipeline.partial_zip import partial_zips
from merging.progress import Progress
from merging.results import saving
from merging.results.zip_report import labels_of
from merging.zoo.datasets.known import dataset_label


def zip_task(request: ZipRequest, payload: Payload, report: Progress) -> dict[str, bytes]:
    """The artifact "report" of a zip. Raises DataUnavailable without images, and as `partial_zips` does."""
    clock, device = Clock("zip", report), device_of(payload)
    clock("loading", 0.0, "reading the checkpoints")
    if not payload.images:
        label = dataset_label(request.dataset)
        raise DataUnavailable(f"The images of {label} are not on this machine. Download or bring them on Models.")
    data = {split: batches(images, device) for split, images in payload.images.items()}
    pairs = zip(request.models, payload.checkpoints, strict=True)
    models = [build(model, checkpoint, device) for model, checkpoint in pairs]
    classes = payload.images["test"].classes
    known = [labels_of(model.classes, classes, model.name) for model in request.models]
    zips = partial_zips(models, data["train"], settings=request.settings, seed=request.seed, report=clock)
    found = measure(zips, known, data["test"])
    clock("saving", 0.0, "")
    clock.stop()
    asked, seconds = json.loads(request.to_json()), dict(clock.seconds)
    made = replace(found, request=asked, seconds=seconds, machine=machine(payload.device))
    return {"report": saving.save(made)}
