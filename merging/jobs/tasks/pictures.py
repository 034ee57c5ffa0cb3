"""Pictures task: feature-visualization pictures of some units of one layer."""

from __future__ import annotations

from merging.analysis.pictures.render import render
from merging.analysis.pictures.settings import PictureSettings
from merging.jobs.requests.pictures import PicturesRequest
from merging.jobs.tasks.common import Clock, build_model, device_of, example
from merging.jobs.tasks.payload import Payload
from merging.network.graph.graph import export
from merging.network.permutation import named_tensors
from merging.progress import Progress
from merging.results import saving
from merging.settings import read_settings


def pictures_task(request: PicturesRequest, payload: Payload, report: Progress) -> dict[str, bytes]:
    """Artifacts "unit-<i>": one saved UnitPicture per unit. Raises UnknownLayer for a missing layer or unit."""
    clock, device = Clock("pictures", report), device_of(payload)
    clock("loading", 0.0, "reading the checkpoint")
    net, images = build_model(request.model, payload.checkpoints[0], device), example(request.model, device)
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
    return {f"unit-{unit}": saving.save(picture) for unit, picture in pairs}
