"""Train a built-in architecture with AdamW and a one-cycle learning rate. The same seed gives the same bytes.

This holds on the same CPU with the same torch build and number of threads, because the order of sums depends on the
threads. On a GPU, some of torch's backward kernels sum in no fixed order.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merging.errors import InvalidSetting
from merging.zoo.architectures.names import is_torchvision
from merging.zoo.architectures.table import build
from merging.zoo.datasets.load import ImageSet, facts, load_split
from merging.zoo.training.augment import AUGMENTATIONS
from merging.zoo.training.subsets import TRANSFORMS, chosen_images

Report = Callable[[str, float, str], None]
EVALUATION_BATCH = 500
REPORT_EVERY = 20  # batches between reports; they take at most seconds, so a cancelled training stops soon


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training run; convertible to JSON.

    Attributes:
        batch: images per batch.
        lr: peak of the one-cycle learning rate.
        augment: a key of AUGMENTATIONS.
        precision: "float32", or "bfloat16" to multiply in bfloat16; weights, gradients and optimiser stay float32.
        branch: (epoch, seed): from this epoch on, the order of the data is drawn with this other seed. Two nets that
            differ only in the seed of their branch are identical up to this epoch.
        spans: (low, high) in 0..1 per class: train on its images from fraction low to fraction high; (0, 0) leaves a
            class out.
        transform: a key of TRANSFORMS, applied to all images.
    """

    epochs: int = 5
    seed: int = 0
    batch: int = 256
    lr: float = 3e-3
    weight_decay: float = 0.0
    augment: str = "none"
    precision: str = "float32"
    branch: tuple[int, int] | None = None
    spans: tuple[tuple[float, float], ...] | None = None
    transform: str = "none"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2 or self.lr <= 0 or self.weight_decay < 0:
            raise InvalidSetting("epochs >= 1, batch >= 2, lr > 0 and weight_decay >= 0 are needed")
        if self.augment not in AUGMENTATIONS:
            raise InvalidSetting(f"augment is one of {', '.join(AUGMENTATIONS)}; got {self.augment!r}")
        if self.precision not in ("float32", "bfloat16"):
            raise InvalidSetting(f"precision is float32 or bfloat16; got {self.precision!r}")

        if self.transform not in TRANSFORMS:
            raise InvalidSetting(f"transform is one of {', '.join(TRANSFORMS)}; got {self.transform!r}")
        if self.spans is not None and not all(0 <= low <= high <= 1 for low, high in self.spans):
            raise InvalidSetting(f"spans need a pair low <= high in 0..1 per class; got {self.spans}")

    def order_seed(self, epoch: int) -> int:
        """Seed of one epoch's data order and augmentation, mixed from the seed (or the branch's seed) and the epoch."""
        seed = self.branch[1] if self.branch and epoch >= self.branch[0] else self.seed
        return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy in nats, and the fraction of images that are classified correctly."""

    loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained net in eval mode, with everything that its checkpoint records. history: one entry per epoch."""

    module: nn.Module
    architecture: str
    config: dict[str, Any]
    dataset: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    settings: TrainingSettings
    metrics: dict[str, float]
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def options(self) -> dict[str, Any]:
        """The training settings as JSON values. Rarely used settings are omitted if they have their default values."""
        rare = {"spans": None, "transform": "none"}
        return {key: value for key, value in asdict(self.settings).items() if rare.get(key, ...) != value}


def train(
    architecture: str,
    config: Mapping[str, Any],
    dataset: str | tuple[ImageSet, ImageSet],
    *,
    device: str = "cpu",
    report: Report | None = None,
    start: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> TrainedModel:
    """Train a net, and test it on the classes that it was trained on, with the same transform of the images.

    dataset: a name, or a (training, test) pair of image sets.  start: initial weights; None for random ones from the
    seed.  report(stage, fraction, message): called every 20 batches; may raise Cancelled to stop.  options: fields of
    TrainingSettings (epochs, seed, batch, lr, ...). If spans leave out classes and the net has one output per
    remaining class, labels are renumbered from 0. The caller's random state does not change.
    Raises InvalidSetting, UnknownArchitecture or DataUnavailable before the training starts.
    """
    settings = _settings(options)
    images, test = (load_split(dataset, "train"), load_split(dataset, "test")) if isinstance(dataset, str) else dataset
    settings = settings if "batch" in options else replace(settings, batch=usual_batch(len(images)))
    part = (settings.spans, settings.transform, config.get("classes", len(images.classes)))
    images, test = chosen_images(images, *part, learn=True), chosen_images(test, *part, learn=False)
    dataset_facts = images.facts or facts(images.name)
    if is_torchvision(architecture) and dataset_facts.shape[0] != 3:
        raise InvalidSetting(f"{architecture} takes colour images, but those of {dataset_facts.label} are grey.")
    full = {"in_shape": list(dataset_facts.shape), "classes": len(images.classes), **config}
    full = {key: value for key, value in full.items() if key != "in_shape" or not is_torchvision(architecture)}
    module = build(architecture, full, dataset_facts.mean, dataset_facts.std, seed=settings.seed).to(device)
    _check_takes(module, dataset_facts.shape, device)
    if start is not None:
        module.load_state_dict(dict(start))
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(settings.seed)  # for dropout; the order of the data is drawn with separate generators
        history = _fit(module, images, settings, device, report or _silent)
    score, fitted = evaluate_trained(module, test, device=device), evaluate_trained(module, images, device=device)
    metrics = {"loss": score.loss, "accuracy": score.accuracy}
    metrics |= {"train_loss": fitted.loss, "train_accuracy": fitted.accuracy}
    return TrainedModel(
        module.cpu(),
        architecture,
        full,
        images.name,
        images.classes,
        dataset_facts.mean,
        dataset_facts.std,
        settings,
        metrics,
        history,
    )


def usual_batch(images: int) -> int:
    """Default batch size: 256, or less if there would be fewer than 16 steps per epoch, but at least 16."""
    return min(256, max(16, images // 16))


@torch.no_grad()
def _check_takes(module: nn.Module, shape: tuple[int, int, int], device: str) -> None:
    """Raise InvalidSetting if the network cannot take images of this shape (channels, height, width)."""
    try:
        module.eval()(torch.zeros(1, *shape, device=device))
    except RuntimeError as error:
        form = "×".join(map(str, shape))
        raise InvalidSetting(
            f"This network cannot take images of {form}: they are too small for its pools, or their number of channels "
            "is wrong. Choose another network, or bring larger images."
        ) from error


@torch.no_grad()
def evaluate_trained(module: nn.Module, images: ImageSet, *, device: str = "cpu") -> Score:
    """Compute loss and accuracy in float32 and eval mode; the module stays in eval mode."""
    module.eval()
    loss = correct = 0.0
    for first in range(0, len(images), EVALUATION_BATCH):
        rows = slice(first, first + EVALUATION_BATCH)
        logits = module(torch.from_numpy(images.images[rows].copy()).to(device).float() / 255)
        labels = torch.from_numpy(images.labels[rows].copy()).to(device)
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        correct += float((logits.argmax(1) == labels).sum())
    return Score(loss / len(images), correct / len(images))


def _settings(options: dict[str, Any]) -> TrainingSettings:
    unknown = set(options) - set(TrainingSettings.__dataclass_fields__)
    if unknown:
        names = ", ".join(TrainingSettings.__dataclass_fields__)
        raise InvalidSetting(f"training has no setting {sorted(unknown)[0]!r}; it has {names}")
    return TrainingSettings(**options)


def _fit(
    module: nn.Module, images: ImageSet, settings: TrainingSettings, device: str, report: Report
) -> list[dict[str, float]]:
    # The last, shorter batch of an epoch is left out, because BatchNorm cannot use a batch of one image. Other images
    # are left out in each epoch, because the order changes.
    steps = max(1, len(images) // settings.batch)
    optimiser = torch.optim.AdamW(module.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.lr, total_steps=settings.epochs * steps)
    pixels, labels = torch.from_numpy(images.images.copy()), torch.from_numpy(images.labels.copy())
    history = []
    _lay_out(module.train(), torch.channels_last)  # convolutions are up to twice as fast in this layout
    for epoch in range(settings.epochs):
        generator = torch.Generator().manual_seed(settings.order_seed(epoch))
        order, total = torch.randperm(len(images), generator=generator), 0.0
        for step in range(steps):
            rows = order[step * settings.batch : (step + 1) * settings.batch]
            inputs = AUGMENTATIONS[settings.augment](pixels[rows], generator)
            inputs = (inputs.to(device).float() / 255).contiguous(memory_format=torch.channels_last)
            loss = _step(module, inputs, labels[rows].to(device), optimiser, settings.precision)
            schedule.step()
            total += loss
            if step % REPORT_EVERY == 0:
                done = (epoch * steps + step) / (settings.epochs * steps)
                report("train", done, f"epoch {epoch + 1} of {settings.epochs}, loss {loss:.3f}")
        history.append({"epoch": epoch + 1, "train_loss": total / steps})
    report("train", 1.0, "trained")
    _lay_out(module.eval(), torch.contiguous_format)
    return history


def _lay_out(module: nn.Module, layout: torch.memory_format) -> None:
    module.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stubs leave this keyword out


def _step(module: nn.Module, inputs: Tensor, labels: Tensor, optimiser: torch.optim.Optimizer, precision: str) -> float:
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        loss = F.cross_entropy(module(inputs), labels)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def _silent(stage: str, fraction: float, message: str) -> None:
    """Ignore the report."""
