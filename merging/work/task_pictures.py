"""The pictures task: what some units of one layer look for."""

from __future__ import annotations

from merging import results
from merging.analysis.feature_images import render
from merging.analysis.picture_parts import PictureSettings
from merging.graph import export
from merging.permutation import named_tensors
from merging.problem import Report
from merging.settings import read_settings
from merging.work.payload import Payload
from merging.work.request import PicturesRequest
from merging.work.task_tools import Clock, build, device_of, example


def pictures_task(request: PicturesRequest, payload: Payload, report: Report) -> dict[str, bytes]:
    """Artifacts "unit-<i>", a saved UnitPicture a unit. Raises UnknownLayer for a layer or unit that is not there."""
    clock, device = Clock("pictures", report), device_of(payload)
    clock("loading", 0.0, "reading the checkpoint")
    net, images = build(request.model, payload.checkpoints[0], device), example(request.model, device)
    pictures = render(
        export(net, images),
        named_tensors(net),
        request.layer,
        request.units,
        input_shape=tuple(images.shape[1:]),
        settings=read_settings(PictureSettings, request.settings),
        seed=request.seed,
        report=clock,
    )
    clock("saving", 0.0, "")
    pairs = zip(request.units, pictures, strict=True)
    return {f"unit-{unit}": results.save(picture) for unit, picture in pairs}
