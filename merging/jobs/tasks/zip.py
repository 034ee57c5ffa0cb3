"""Partial zip task (ZipIt!): one alignment, then a measurement for every layer at which the shared trunk can end."""

from __future__ import annotations

import json
from dataclasses import replace

from merging.analysis.path.heads import measure_heads
from merging.errors import DataUnavailable
from merging.jobs.requests.zip_networks import ZipRequest
from merging.jobs.tasks.common import Clock, batches, build_model, device_of
from merging.jobs.tasks.machine import machine
from merging.jobs.tasks.payload import Payload
from merging.pipeline.partial_zip import partial_zips
from merging.progress import Progress
from merging.results import saving
from merging.results.zip_report import labels_of
from merging.zoo.datasets.known import dataset_label


def zip_task(request: ZipRequest, payload: Payload, report: Progress) -> dict[str, bytes]:
    """Artifact "report" of a partial zip. Raises DataUnavailable without images, and the errors of `partial_zips`."""
    clock, device = Clock("zip", report), device_of(payload)
    clock("loading", 0.0, "reading the checkpoints")
    if not payload.images:
        label = dataset_label(request.dataset)
        raise DataUnavailable(f"The images of {label} are not on this machine. Download or upload them on Models.")
    data = {split: batches(images, device) for split, images in payload.images.items()}
    pairs = zip(request.models, payload.checkpoints, strict=True)
    models = [build_model(model, checkpoint, device) for model, checkpoint in pairs]
    classes = payload.images["test"].classes
    labels = [labels_of(model.classes, classes, model.name) for model in request.models]
    zips = partial_zips(models, data["train"], settings=request.settings, seed=request.seed, report=clock)
    measured = measure_heads(zips, labels, data["test"])
    clock("saving", 0.0, "")
    clock.stop()
    request_values, seconds = json.loads(request.to_json()), dict(clock.seconds)
    zip_report = replace(measured, request=request_values, seconds=seconds, machine=machine(payload.device))
    return {"report": saving.save(zip_report)}
