"""What the tasks share: a clock over stages, checkpoints as modules, images as batches, saving."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Mapping, Sequence
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

BATCH = 500  # images at once on a CPU
GPU_BATCH = 2_000


@dataclass
class Clock:
    """A Progress that knows the stages of a kind of job and measures them.

    A step that the kind does not name belongs to the stage that is on. seconds: stage -> wall time, filled as it goes.
    """

    kind: str
    report: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    stage: str = ""
    began: float = 0.0

    def __call__(self, stage: str, fraction: float | None = None, message: str = "") -> None:
        """Tell, and begin the stage where it is a new one."""
        known = stage in {one.name for one in kinds()[self.kind].stages}
        if known and stage != self.stage:
            self.stop()
            self.stage, self.began = stage, time.perf_counter()
        self.report(self.stage or stage, fraction if known else None, message)

    def stop(self) -> None:
        """End the stage that is on."""
        if self.stage:
            self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + time.perf_counter() - self.began
        self.stage = ""

    def part(self, whole: str, number: int, of: int, name: str = "") -> Progress:
        """A Progress for piece `number` (from 0) of `of` equal pieces of stage `whole`, whatever it calls its steps.

        name: of the piece, told before each of its messages.
        """

        def tell(stage: str, fraction: float | None = None, message: str = "") -> None:
            self(whole, (number + (fraction or 0.0)) / of, f"{name}: {message}" if name else message)

        return tell


def device_of(payload: Payload) -> torch.device:
    """The GPU where the job may use one and torch can, otherwise the CPU."""
    torch.backends.cudnn.allow_tf32 = False  # its 1e-3 would be seen in every figure, and in B against pi(B)
    return torch.device("cuda" if payload.device == "cuda" and torch.cuda.is_available() else "cpu")


def build(model: ModelRef, data: bytes, device: torch.device) -> nn.Module:
    """The network on its device, in eval mode. Raises CheckpointError or UnknownArchitecture."""
    given: dict[str, Any] = {"architecture": model.architecture, "config": model.config}
    return load_bytes(data, name=model.name, mean=model.mean, std=model.std, **given).build().to(device)


def batches(images: ImageSet, device: torch.device) -> Batches:
    """The images as batches on a device; copied, for what came through Ray may not be written to."""
    pixels, labels = torch.from_numpy(images.images.copy()), torch.from_numpy(images.labels.copy())
    return Batches(pixels, labels, BATCH if device.type == "cpu" else GPU_BATCH, device)


def example(model: ModelRef, device: torch.device) -> Tensor:
    """Two inputs (2, C, H, W) in 0..1 to trace with where there are no images: drawn at random, always the same."""
    return example_images(model.architecture, model.config, model.dataset, len(model.mean)).to(device)


def check_finite(net: nn.Module, what: str) -> None:
    """Raises MergescopeError where a weight of the network is NaN or infinite; a constant, such as a mask, may be."""
    constants = constants_of(net)
    for name, tensor in named_tensors(net).items():
        if name not in constants and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise MergescopeError(f"{what} holds NaN or infinity in {name}. Choose another method or other settings.")


def checkpoint(net: nn.Module, like: ModelRef, name: str, names: Mapping[str, str] | None = None) -> bytes:
    """A network as a safetensors file with the story of `like`, which it was made from.

    names: our tensor names -> the person's, as `names_in` reads them of that network's file.
    """
    kept = ("architecture", "config", "dataset", "classes", "mean", "std")
    told: dict[str, Any] = {key: getattr(like, key) for key in kept}
    return save_checkpoint(net.cpu(), name=name, names=names, **told)


def arrays(named: Mapping[str, np.ndarray]) -> bytes:
    """Arrays of any shapes as an .npz file; the same give the same bytes (numpy.savez writes the time of day)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in named.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, buffer.getvalue())
    return out.getvalue()


def names_of(models: Sequence[ModelRef]) -> str:
    """The models' names for the name of what they became."""
    return " + ".join(model.name for model in models)
