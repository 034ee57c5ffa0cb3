"""The zip task: one alignment by ZipIt!, then every place at which the shared trunk may end, measured."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from merging import results
from merging.analysis.heads import HeadScores, head_scores, labels_of, side_by_side
from merging.errors import DataUnavailable
from merging.methods import letter
from merging.partial_zip import partial_zips
from merging.problem import Report
from merging.work.payload import Payload
from merging.work.place import machine
from merging.work.request import ZipRequest
from merging.work.task_tools import Clock, batches, build, device_of
from merging.zip_report import ZipReport
from merging.zoo.dataset_facts import FACTS


def zip_task(request: ZipRequest, payload: Payload, report: Report) -> dict[str, bytes]:
    """The artifact "report" of a zip. Raises DataUnavailable without images, and as `partial_zips` does."""
    clock, device = Clock("zip", report), device_of(payload)
    clock("loading", 0.0, "reading the checkpoints")
    if not payload.images:
        raise DataUnavailable(f"The images of {FACTS[request.dataset].label} are not on this machine. Download them.")
    data = {split: batches(images, device) for split, images in payload.images.items()}
    pairs = zip(request.models, payload.checkpoints, strict=True)
    models = [build(model, checkpoint, device) for model, checkpoint in pairs]
    names = FACTS[request.dataset].classes
    known = [labels_of(model.classes, names, model.name) for model in request.models]
    alone = head_scores(side_by_side(models), known, data["test"])
    layers, scores, shares, notes = list[str](), list[HeadScores](), list[float](), dict[str, Any]()
    zips = partial_zips(models, data["train"], settings=request.settings, seed=request.seed, report=clock)
    for zipped in zips:
        clock("heads", None, f"trunk up to {zipped.until.name}")
        layers.append(zipped.until.name)
        scores.append(head_scores(zipped, known, data["test"]))
        shares.append(zipped.share(models))
        notes = zipped.notes
    clock("saving", 0.0, "")
    clock.stop()
    made = ZipReport(
        request=json.loads(request.to_json()),
        names=tuple(map(letter, range(len(models)))),
        layers=tuple(layers),
        heads=np.array([score.heads for score in scores]).T,
        joint=np.array([score.joint for score in scores]),
        alone=np.array(alone.heads),
        beside=alone.joint,
        share=np.array(shares),
        images=data["test"].count,
        notes=notes,
        seconds=dict(clock.seconds),
        machine=machine(payload.device),
    )
    return {"report": results.save(made)}
