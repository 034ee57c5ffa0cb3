"""Train a built-in architecture. The same seed gives the same bytes.

This holds on the same CPU with the same torch build and number of threads, because the order of sums depends on the
threads. On a GPU, some of torch's backward kernels sum in no fixed order.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merging.errors import InvalidSetting
from merging.zoo.architectures.names import is_torchvision
from merging.zoo.architectures.table import build
from merging.zoo.datasets.facts import DatasetFacts
from merging.zoo.datasets.load import ImageSet, facts, load_split
from merging.zoo.training.augment import AUGMENTATIONS
from merging.zoo.training.lora import add_adapters, fold_adapters
from merging.zoo.training.settings import TrainingSettings
from merging.zoo.training.state import TrainingState
from merging.zoo.training.subsets import chosen_images, divided_images, noisy_labels

Report = Callable[[str, float, str], None]
EVALUATION_BATCH = 500
RECORDED = ("epochs", "seed", "batch", "lr", "weight_decay", "augment", "precision", "branch")
REPORT_EVERY = 20  # batches between reports; they take at most seconds, so a cancelled training stops soon


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy in nats, and the fraction of images that are classified correctly."""

    loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained net in eval mode, with everything that its checkpoint records.

    Attributes:
        history: one entry per epoch.
        kept: epoch -> tensors after it, for the epochs that the caller asked for.
        images: number of images that it was trained on.
    """

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
    kept: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    images: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """The training settings as JSON values: those of RECORDED, and the others that differ from their defaults."""
        values, usual = asdict(self.settings), asdict(TrainingSettings())
        others = {key: value for key, value in values.items() if key not in RECORDED and value != usual[key]}
        return {key: values[key] for key in RECORDED} | others


def train(
    architecture: str,
    config: Mapping[str, Any],
    dataset: str | tuple[ImageSet, ImageSet],
    *,
    device: str = "cpu",
    report: Report | None = None,
    start: Mapping[str, Tensor] | None = None,
    keep: Collection[int] = (),
    resume: Path | None = None,
    **options: Any,
) -> TrainedModel:
    """Train a net, and test it on the classes that it was trained on, with the same transform of the images.

    If spans leave out classes and the net has one output per remaining class, labels are renumbered from 0. The
    caller's random state does not change.

    Args:
        architecture: a built-in architecture.
        config: its options.
        dataset: a name, or a (training, test) pair of image sets.
        device: where the net is trained.
        report: called as (stage, fraction, message) every 20 batches; may raise Cancelled to stop.
        start: initial weights; None for random ones from the seed.
        keep: epochs after which the tensors are kept; 0 is before the first.
        resume: a file that holds the state of the training after its last whole epoch. If it exists, the training goes
            on from there, to the same bytes as without the interruption. The caller deletes it once the network is
            saved. None for no file.
        options: fields of TrainingSettings (epochs, seed, batch, lr, ...).

    Raises:
        InvalidSetting, UnknownArchitecture, DataUnavailable: before the training starts.
    """
    images, test, settings = chosen_data(dataset, config.get("classes"), read_options(options))
    dataset_facts = images.facts or facts(images.name)
    module, full = built_for(architecture, config, images, dataset_facts, settings.seed)
    check_takes(module.to(device), dataset_facts.shape, device)
    _load(module, start, settings)
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(settings.seed)  # for dropout; the order of the data is drawn with separate generators
        what = identity_of(module, images, settings, keep, device) if resume else ""
        if settings.lora:
            add_adapters(module, settings.lora)
        state = TrainingState(module, settings, max(1, len(images) // settings.batch), keep, resume, what)
        _fit(state, images, device, report or silent)
    fold_adapters(module)
    metrics = measured(module, test, images, device)
    statistics = (dataset_facts.mean, dataset_facts.std)
    known = (architecture, full, images.name, images.classes, *statistics, settings, metrics)
    return TrainedModel(module.cpu(), *known, state.history, state.kept, len(images))


def _load(module: nn.Module, start: Mapping[str, Tensor] | None, settings: TrainingSettings) -> None:
    """Load initial weights, if there are any.

    Raises InvalidSetting if they are those of another structure, or if there are none for LoRA.
    """
    if start is None:
        if settings.lora:
            raise InvalidSetting("LoRA changes a network that is trained already. Give the network to start from.")
        return
    try:
        module.load_state_dict(dict(start))
    except RuntimeError as error:
        raise InvalidSetting(
            "The network to start from has another structure than the network to train. Give the same architecture and "
            "options for both."
        ) from error


def chosen_data(
    dataset: str | tuple[ImageSet, ImageSet], outputs: int | None, settings: TrainingSettings
) -> tuple[ImageSet, ImageSet, TrainingSettings]:
    """Return the training and test images that the settings choose, and the settings with the batch size."""
    images, test = (load_split(dataset, "train"), load_split(dataset, "test")) if isinstance(dataset, str) else dataset
    part = (settings.spans, settings.transform, outputs or len(images.classes))
    images, test = chosen_images(images, *part, learn=True), chosen_images(test, *part, learn=False)
    images = divided_images(images, settings)
    return images, test, settings if settings.batch else replace(settings, batch=usual_batch(len(images)))


def identity_of(
    module: nn.Module, images: ImageSet, settings: TrainingSettings, keep: Collection[int], device: str
) -> str:
    """Return a text that is the same only for the same training: structure, initial weights, images and settings."""
    start = hashlib.sha256()
    for value in module.state_dict().values():
        start.update(value.cpu().contiguous().numpy().tobytes())
    same = [str(module), start.hexdigest(), images.sha256, asdict(settings), sorted(keep), device]
    return json.dumps(same, sort_keys=True)


def measured(module: nn.Module, test: ImageSet, images: ImageSet, device: str) -> dict[str, float]:
    """Loss and accuracy on the test images, and on the training images; the module stays in eval mode."""
    score, fitted = (evaluate_trained(module, one, device=device) for one in (test, images))
    trained = {"train_loss": fitted.loss, "train_accuracy": fitted.accuracy}
    return {"loss": score.loss, "accuracy": score.accuracy, **trained}


def built_for(
    architecture: str, config: Mapping[str, Any], images: ImageSet, known: DatasetFacts, seed: int
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a net with random weights for these images, and its whole configuration."""
    if is_torchvision(architecture) and known.shape[0] != 3:
        raise InvalidSetting(f"{architecture} takes colour images, but those of {known.label} are grey.")
    full = {"in_shape": list(known.shape), "classes": len(images.classes), **config}
    full = {key: value for key, value in full.items() if key != "in_shape" or not is_torchvision(architecture)}
    return build(architecture, full, known.mean, known.std, seed=seed), full


def usual_batch(images: int) -> int:
    """Default batch size: 256, or less if there would be fewer than 16 steps per epoch, but at least 16."""
    return min(256, max(16, images // 16))


@torch.no_grad()
def check_takes(module: nn.Module, shape: tuple[int, int, int], device: str) -> None:
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
        best, guess = logits.max(1)
        correct += float(((guess == labels) & ~best.isnan()).sum())  # the largest of NaN is some class
    return Score(loss / len(images), correct / len(images))


def read_options(options: dict[str, Any]) -> TrainingSettings:
    """Settings from the options of `train`. Raises InvalidSetting for an unknown one, or a wrong value."""
    unknown = set(options) - set(TrainingSettings.__dataclass_fields__)
    if unknown:
        names = ", ".join(TrainingSettings.__dataclass_fields__)
        raise InvalidSetting(f"training has no setting {sorted(unknown)[0]!r}; it has {names}")
    return TrainingSettings(**options)


def _fit(state: TrainingState, images: ImageSet, device: str, report: Report) -> None:
    # The last, shorter batch of an epoch is left out, because BatchNorm cannot use a batch of one image. Other images
    # are left out in each epoch, because the order changes.
    module, settings, steps = state.module, state.settings, state.steps
    pixels = torch.from_numpy(images.images.copy())
    labels = torch.from_numpy(noisy_labels(images, settings.label_noise, settings.seed))
    _lay_out(module.train(), torch.channels_last)  # convolutions are up to twice as fast in this layout
    state.begin()
    for epoch in range(len(state.history), settings.epochs):
        generator = torch.Generator().manual_seed(settings.order_seed(epoch))
        order, total = torch.randperm(len(images), generator=generator), 0.0
        for step in range(steps):
            rows = order[step * settings.batch : (step + 1) * settings.batch]
            # index_select copies whole images; indexing with a tensor copies pixel by pixel, which takes longer
            inputs = AUGMENTATIONS[settings.augment](pixels.index_select(0, rows), generator)
            inputs = inputs.to(device).float().div_(255).contiguous(memory_format=torch.channels_last)
            targets = labels.index_select(0, rows).to(device)
            loss = _step(module, inputs, targets, state.optimiser, settings.precision)
            state.schedule.step()
            total += loss
            if step % REPORT_EVERY == 0:
                done = (epoch * steps + step) / (settings.epochs * steps)
                report("train", done, f"epoch {epoch + 1} of {settings.epochs}, loss {loss:.3f}")
        state.end_epoch({"epoch": epoch + 1, "train_loss": total / steps})
    report("train", 1.0, "trained")
    _lay_out(module.eval(), torch.contiguous_format)


def _lay_out(module: nn.Module, layout: torch.memory_format) -> None:
    module.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stubs leave this keyword out


def _step(module: nn.Module, inputs: Tensor, labels: Tensor, optimiser: torch.optim.Optimizer, precision: str) -> float:
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        loss = F.cross_entropy(module(inputs), labels)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def silent(stage: str, fraction: float, message: str) -> None:
    """Ignore the report."""
