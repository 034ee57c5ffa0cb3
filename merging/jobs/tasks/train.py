"""Train task: trains a built-in architecture from a seed and saves the checkpoint."""

from __future__ import annotations

import hashlib
import time

import torch
from torch import Tensor

from merging.errors import DataUnavailable
from merging.jobs.requests.train import TrainRequest, kept_name
from merging.jobs.tasks.common import Clock, build_model, check_finite, device_of
from merging.jobs.tasks.machine import machine
from merging.jobs.tasks.payload import Payload
from merging.progress import Progress
from merging.results import saving
from merging.results.reports import TrainReport
from merging.zoo.architectures.names import describe
from merging.zoo.checkpoints.checkpoint import save_checkpoint
from merging.zoo.training.train import train


def train_task(request: TrainRequest, payload: Payload, report: Progress) -> dict[str, bytes]:
    """Artifacts of a training: "checkpoint.safetensors" and "report". Raises DataUnavailable without images."""
    clock, began = Clock("train", report), time.perf_counter()
    if not payload.images:
        raise DataUnavailable(f"The images of {request.dataset} are not on this machine. Download them first.")
    clock("training", 0.0, "building the network")
    trained = train(
        request.architecture,
        request.config,
        (payload.images["train"], payload.images["test"]),
        device=device_of(payload).type,
        report=clock.part("training", 0, 1),
        epochs=request.epochs,
        seed=request.seed,
        start=_start(request, payload),
        keep=request.keep,
        **request.settings,
    )
    check_finite(trained.module, "The trained network")
    clock("saving", 0.0, "")
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
        seconds=time.perf_counter() - began,
        machine=machine(payload.device),
        images=trained.images,
    )
    return {"report": saving.save(train_report), "checkpoint.safetensors": data, **kept}


def _start(request: TrainRequest, payload: Payload) -> dict[str, Tensor] | None:
    """Tensors of the network that the training starts from, None for random ones."""
    if request.start is None:
        return None
    return dict(build_model(request.start, payload.checkpoints[0], torch.device("cpu")).state_dict())
