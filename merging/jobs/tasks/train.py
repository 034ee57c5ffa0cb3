"""Train task: trains built-in architectures from seeds and saves the checkpoints."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from merging.errors import DataUnavailable
from merging.jobs.outcome import Outcome, attempt
from merging.jobs.requests.train import TrainRequest, kept_name
from merging.jobs.tasks.common import Clock, build_model, check_finite, device_of
from merging.jobs.tasks.machine import machine
from merging.jobs.tasks.payload import Payload
from merging.progress import Progress, no_progress
from merging.results import saving
from merging.results.reports import TrainReport
from merging.zoo.architectures.names import describe
from merging.zoo.checkpoints.checkpoint import save_checkpoint
from merging.zoo.datasets.load import ImageSet
from merging.zoo.training.together import train_together
from merging.zoo.training.train import TrainedModel, train


def train_task(request: TrainRequest, payload: Payload, report: Progress) -> dict[str, bytes]:
    """Artifacts of a training: "checkpoint.safetensors" and "report". Raises DataUnavailable without images."""
    clock, began = Clock("train", report), time.perf_counter()
    images = _images(request, payload)
    clock("training", 0.0, "building the network")
    trained = train(
        request.architecture,
        request.config,
        images,
        device=device_of(payload).type,
        report=clock.part("training", 0, 1),
        epochs=request.epochs,
        seed=request.seed,
        start=_start(request, payload),
        keep=request.keep,
        **request.settings,
    )
    clock("saving", 0.0, "")
    return _artifacts(request, trained, payload, time.perf_counter() - began)


def train_company(requests: Sequence[TrainRequest], payload: Payload, report: Progress) -> Outcome:
    """Train networks that differ only in their seed in one pass; each gets the artifacts of its training alone.

    The seconds in its report are its share of the pass. Raises DataUnavailable without images.
    """
    clock, began = Clock("train", report), time.perf_counter()
    first = requests[0]
    images = _images(first, payload)
    clock("training", 0.0, "building the networks")
    trained = train_together(
        first.architecture,
        first.config,
        images,
        [request.seed for request in requests],
        report=clock.part("training", 0, 1),
        keep=first.keep,
        epochs=first.epochs,
        **first.settings,
    )
    clock("saving", 0.0, "")
    share = (time.perf_counter() - began) / len(requests)

    def outcome(request: TrainRequest, one: TrainedModel) -> Outcome:
        return attempt(lambda _: _artifacts(request, one, payload, share), no_progress)  # others stay if one diverged

    return Outcome(members={one.id: outcome(one, model) for one, model in zip(requests, trained, strict=True)})


def _artifacts(request: TrainRequest, trained: TrainedModel, payload: Payload, seconds: float) -> dict[str, bytes]:
    """Checkpoints and report of a trained network. Raises MergescopeError if it is not finite."""
    check_finite(trained.module, "The trained network")
    name = request.name or f"{describe(trained.architecture, trained.config)}, seed {request.seed}"
    metadata = {key: getattr(trained, key) for key in ("architecture", "config", "dataset", "classes", "mean", "std")}
    data = save_checkpoint(trained.module, name=name, seed=request.seed, epochs=request.epochs, **metadata)
    kept = dict[str, bytes]()
    for epoch in request.keep:
        trained.module.load_state_dict(trained.kept[epoch])
        whole_name = f"{name}, epoch {epoch}"
        kept[kept_name(epoch)] = save_checkpoint(
            trained.module, name=whole_name, seed=request.seed, epochs=epoch, **metadata
        )
    train_report = TrainReport(
        name=name,
        checkpoint=hashlib.sha256(data).hexdigest(),
        accuracy=trained.metrics["accuracy"],
        loss=trained.metrics["loss"],
        history=tuple(trained.history),
        seconds=seconds,
        machine=machine(payload.device),
        images=trained.images,
    )
    return {"report": saving.save(train_report), "checkpoint.safetensors": data, **kept}


def _images(request: TrainRequest, payload: Payload) -> tuple[ImageSet, ImageSet]:
    if not payload.images:
        raise DataUnavailable(f"The images of {request.dataset} are not on this machine. Download them first.")
    return payload.images["train"], payload.images["test"]


def _start(request: TrainRequest, payload: Payload) -> dict[str, Tensor] | None:
    """Tensors of the network that the training starts from, None for random ones."""
    if request.start is None:
        return None
    return dict(build_model(request.start, payload.checkpoints[0], torch.device("cpu")).state_dict())
