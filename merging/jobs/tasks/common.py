"""Shared parts of the tasks: stage clock, modules from checkpoints, batches from images, saving."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from merging.errors import MergescopeError
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.registry import kinds
from merging.jobs.tasks.payload import Payload
from merging.network.constants import constants_of
from merging.network.data import Batches
from merging.network.permutation import named_tensors
from merging.progress import Progress
from merging.zoo.checkpoints.checkpoint import load_bytes, save_checkpoint
from merging.zoo.checkpoints.example import example_images
from merging.zoo.datasets.load import ImageSet

BATCH = 500  # images per batch on a CPU
GPU_BATCH = 2_000


@dataclass
class Clock:
    """A Progress that measures the duration of each stage of a kind of job.

    A reported step that is not a stage of the kind counts as part of the current stage.

    Attributes:
        kind: kind of the job.
        report: receives the progress.
        seconds: stage -> wall time in seconds, filled during the job.
        stage: the current stage, "" for none.
        began: time at which the current stage began, in seconds.
    """

    kind: str
    report: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    stage: str = ""
    began: float = 0.0

    def __call__(self, stage: str, fraction: float | None = None, message: str = "") -> None:
        """Report the progress, and begin the stage if it is new."""
        is_stage = stage in {one.name for one in kinds()[self.kind].stages}
        if is_stage and stage != self.stage:
            self.stop()
            self.stage, self.began = stage, time.perf_counter()
        self.report(self.stage or stage, fraction if is_stage else None, message)

    def stop(self) -> None:
        """End the current stage."""
        if self.stage:
            self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + time.perf_counter() - self.began
        self.stage = ""

    def part(self, whole: str, number: int, of: int, name: str = "") -> Progress:
        """Return a Progress for one of several equal pieces of a stage. It ignores the names of the piece's own steps.

        Args:
            whole: the stage.
            number: index of the piece, from 0.
            of: number of pieces.
            name: name of the piece, which is put before each of its messages.
        """

        def tell(stage: str, fraction: float | None = None, message: str = "") -> None:
            self(whole, (number + (fraction or 0.0)) / of, f"{name}: {message}" if name else message)

        return tell


def device_of(payload: Payload) -> torch.device:
    """The GPU if the job may use one and torch finds it, otherwise the CPU."""
    return torch.device("cuda" if payload.device == "cuda" and torch.cuda.is_available() else "cpu")


def build_model(model: ModelRef, data: bytes, device: torch.device) -> nn.Module:
    """Build the network on its device, in eval mode. Raises CheckpointError or UnknownArchitecture."""
    structure: dict[str, Any] = {"architecture": model.architecture, "config": model.config}
    return load_bytes(data, name=model.name, mean=model.mean, std=model.std, **structure).build().to(device)


def batches(images: ImageSet, device: torch.device) -> Batches:
    """Batches of images on a device. The images are copied, because arrays that came through Ray are read-only."""
    pixels, labels = torch.from_numpy(images.images.copy()), torch.from_numpy(images.labels.copy())
    return Batches(pixels, labels, BATCH if device.type == "cpu" else GPU_BATCH, device)


def example(model: ModelRef, device: torch.device) -> Tensor:
    """Two example inputs (2, C, H, W) in 0..1 for tracing without a data set: random, with a fixed seed."""
    return example_images(model.architecture, model.config, model.dataset, len(model.mean)).to(device)


def check_finite(net: nn.Module, what: str) -> None:
    """Raise MergescopeError if a weight is NaN or infinite; constants such as masks may be. what: the network."""
    constants = constants_of(net)
    for name, tensor in named_tensors(net).items():
        if name not in constants and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise MergescopeError(f"{what} holds NaN or infinity in {name}. Choose another method or other settings.")


def checkpoint_bytes(net: nn.Module, like: ModelRef, name: str, names: Mapping[str, str] | None = None) -> bytes:
    """Return a network as the bytes of a safetensors file.

    Args:
        net: the network.
        like: the network whose architecture and metadata are stored in the file.
        name: name of the network.
        names: Mergescope's tensor names -> tensor names in the user's file; {} or None if they are equal.
    """
    keys = ("architecture", "config", "dataset", "classes", "mean", "std")
    metadata: dict[str, Any] = {key: getattr(like, key) for key in keys}
    return save_checkpoint(net.cpu(), name=name, names=names, **metadata)


def arrays(named: Mapping[str, np.ndarray]) -> bytes:
    """Arrays of any shape as an .npz file. Equal arrays give equal bytes; numpy.savez would store the current time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in named.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, buffer.getvalue())
    return out.getvalue()
