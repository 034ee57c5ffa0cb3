"""State of a training between two epochs: optimiser, schedule, history, kept tensors, and a file to resume from."""

from __future__ import annotations

import io
import math
import pickle
import secrets
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from merging.errors import InvalidSetting
from merging.zoo.training.lora import folded_tensors
from merging.zoo.training.settings import TrainingSettings

DAMAGED = (  # reading a damaged file
    *(OSError, RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError),
    *(zipfile.BadZipFile, pickle.UnpicklingError),
)


class TrainingState:
    """What a training changes.

    Args:
        module: the network.
        settings: the training's settings.
        steps: batches per epoch.
        keep: epochs after which the tensors are kept; 0 is before the first.
        resume: file that holds the state after the last whole epoch, None for no file.
        what: text that is the same only for the same training; a file of another training is refused.

    Attributes:
        history: one entry per finished epoch.
        kept: epoch -> tensors after it.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: TrainingSettings,
        steps: int,
        keep: Collection[int],
        resume: Path | None,
        what: str,
    ) -> None:
        self.module, self.settings, self.steps = module, settings, steps
        self.optimiser = make_optimiser(module, settings)
        self.schedule = make_schedule(self.optimiser, settings, settings.epochs * steps)
        self.history: list[dict[str, float]] = []
        self.kept: dict[int, dict[str, Tensor]] = {}
        self._keep, self._resume, self._what = keep, resume, what

    def begin(self) -> None:
        """Read the file, if there is one. Raises InvalidSetting if another training wrote it, or it is damaged."""
        if self._resume is None or not self._resume.is_file():
            self._keep_tensors(0)
            return
        try:
            saved = _read(self._resume)
        except DAMAGED as error:
            raise InvalidSetting(f"{self._resume} is damaged. Delete it to begin the training anew.") from error
        if not isinstance(saved, dict) or saved.get("what") != self._what:
            raise InvalidSetting(f"{self._resume} was written by another training. Delete it, or give another --out.")
        try:
            self.module.load_state_dict(saved["module"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.schedule.load_state_dict(saved["schedule"])
            self.history, self.kept = list(saved["history"]), dict(saved["kept"])
            torch.set_rng_state(saved["random"])
        except DAMAGED as error:  # whole, but not written by this program
            raise InvalidSetting(f"{self._resume} is no state of a training. Delete it to begin anew.") from error

    def end_epoch(self, entry: dict[str, float]) -> None:
        """Record a finished epoch, and write the file."""
        self.history.append(entry)
        self._keep_tensors(len(self.history))
        if self._resume is not None:
            values = {
                "what": self._what,
                "module": self.module.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "schedule": self.schedule.state_dict(),
                "history": self.history,
                "kept": self.kept,
                "random": torch.get_rng_state(),
            }
            partial = self._resume.with_name(f".{self._resume.name[:40]}-{secrets.token_hex(4)}")
            try:
                with partial.open("wb") as file:  # torch's own writer hides why a file cannot be written
                    torch.save(values, file)
                partial.replace(self._resume)
            finally:
                partial.unlink(missing_ok=True)

    def _keep_tensors(self, epoch: int) -> None:
        if epoch in self._keep:
            tensors = folded_tensors(self.module).items()
            self.kept[epoch] = {name: value.detach().cpu().contiguous().clone() for name, value in tensors}


def _read(path: Path) -> Any:
    """Contents of a file written by torch, whose checksums torch does not look at. Raises one of DAMAGED."""
    data = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(data) as file:
        if file.testzip() is not None:
            raise ValueError("a checksum is wrong")
    data.seek(0)
    return torch.load(data, map_location="cpu", weights_only=True)


def make_optimiser(module: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return the optimiser that the settings name, for the parameters of the module that are not frozen."""
    shared: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(learned, momentum=settings.momentum, **shared)
    return {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.optimiser](learned, **shared)


def make_schedule(optimiser: torch.optim.Optimizer, settings: TrainingSettings, total: int) -> LRScheduler:
    """Return the schedule of the learning rate over `total` steps."""
    if settings.schedule == "one-cycle":
        return OneCycleLR(optimiser, settings.lr, total_steps=total)
    return LambdaLR(optimiser, factor_of(settings.schedule, round(settings.warmup * total), total))


def factor_of(schedule: str, warm: int, total: int) -> Callable[[int], float]:
    """Return step -> learning rate relative to its highest value, for "cosine" and "constant".

    warm: number of steps in which it rises linearly.  total: number of all steps.
    """

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        if schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))

    return factor
