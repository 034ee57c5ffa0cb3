"""Train several MLPs that differ only in their seed in one pass. Each gets the bytes that it gets when trained alone.

Much of the time of a small network's step goes to calls, not to arithmetic. Here all networks share the calls of what
works number by number or row by row: ReLU, softmax, optimiser, learning rate. Their matrices are multiplied one network
after the other, into one tensor. A batched product (torch.bmm, which torch.func.vmap uses) sums in another order, and
its networks differ from those trained alone. `python -m benchmarks.training --together` compares the times.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merging.errors import InvalidSetting
from merging.zoo.architectures.mlp import MLP
from merging.zoo.datasets.load import ImageSet, facts
from merging.zoo.training.augment import AUGMENTATIONS
from merging.zoo.training.settings import TrainingSettings
from merging.zoo.training.state import TrainingState
from merging.zoo.training.subsets import noisy_labels
from merging.zoo.training.train import (
    REPORT_EVERY,
    Report,
    TrainedModel,
    built_for,
    check_takes,
    chosen_data,
    identity_of,
    measured,
    read_options,
    silent,
)

EXACT = (nn.ReLU, nn.LeakyReLU)  # the others' last bits depend on whether a number is among the last of a tensor
ALIGNED = 64  # bytes; MKL, which multiplies the matrices, may sum in another order at other addresses


def train_together(
    architecture: str,
    config: Mapping[str, Any],
    dataset: str | tuple[ImageSet, ImageSet],
    seeds: Sequence[int],
    *,
    report: Report | None = None,
    keep: Collection[int] = (),
    resume: Path | None = None,
    **options: Any,
) -> tuple[TrainedModel, ...]:
    """Train one MLP per seed, on the CPU; the results, in the order of the seeds, equal `train(..., seed=seed)` each.

    Each network has its own initial weights, order of images, augmentation and label noise, those of its seed. Equal
    means equal bytes, of weights, history and metrics, with the same number of threads on the same machine.

    Args:
        architecture: "mlp"; others are refused.
        config, dataset, report, keep: as in `train`.
        seeds: different seeds, at least one.
        resume: a file that holds the state of all these trainings after their last whole epoch, as in `train`.
        options: fields of TrainingSettings besides `seed`; without LoRA, and in float32.

    Raises:
        InvalidSetting, DataUnavailable: before the training starts.
    """
    images, test, shared = chosen_data(dataset, config.get("classes"), _checked(architecture, seeds, options))
    own = [replace(shared, seed=seed) for seed in seeds]
    known = images.facts or facts(images.name)
    built = [built_for(architecture, config, images, known, seed) for seed in seeds]
    modules = [module for module, _ in built]
    check_takes(modules[0], known.shape, "cpu")
    each = zip(modules, own, strict=True)
    what = json.dumps([identity_of(module, images, one, keep, "cpu") for module, one in each]) if resume else ""
    state = TrainingState(stacked(modules), shared, max(1, len(images) // shared.batch), keep, resume, what)
    with torch.random.fork_rng(devices=[]):  # a file to resume from sets the random state
        _fit(state, [TrainingImages(images, one) for one in own], report or silent)
    taken = (images.name, images.classes, known.mean, known.std)
    results = []
    for number, (module, settings) in enumerate(zip(modules, own, strict=True)):
        module.load_state_dict(_part(state.module.state_dict(), number))
        history = [{"epoch": one["epoch"], "train_loss": one[f"train_loss {number}"]} for one in state.history]
        kept = {epoch: _part(tensors, number) for epoch, tensors in state.kept.items()}
        metrics = measured(module, test, images, "cpu")
        facts_of = (architecture, built[number][1], *taken, settings, metrics, history, kept, len(images))
        results.append(TrainedModel(module, *facts_of))
    return tuple(results)


def _checked(architecture: str, seeds: Sequence[int], options: dict[str, Any]) -> TrainingSettings:
    """The settings that all networks share. Raises InvalidSetting for what cannot be trained together."""
    if architecture != "mlp":
        raise InvalidSetting(f"Only MLPs (mlp) are trained together; train {architecture} one network at a time.")
    if "seed" in options or not seeds or len(set(seeds)) != len(seeds):
        raise InvalidSetting("Networks that are trained together need different seeds, one for each; give `seeds`.")
    settings = read_options(options)
    if settings.lora or settings.precision != "float32":
        raise InvalidSetting("Networks are trained together in float32 and without LoRA; train these one at a time.")
    return settings


@dataclass(frozen=True)
class TrainingImages:
    """The images of one network, in its own order. images: the training images.  settings: with the network's seed."""

    images: ImageSet
    settings: TrainingSettings

    def labels(self) -> Tensor:
        """Labels (n,) with the noise of the network's seed."""
        return torch.from_numpy(noisy_labels(self.images, self.settings.label_noise, self.settings.seed))

    def generator(self, epoch: int) -> torch.Generator:
        """Source of an epoch's order, and of its augmentation after that."""
        return torch.Generator().manual_seed(self.settings.order_seed(epoch))


class ManyLinear(torch.autograd.Function):
    """Linear layers of k networks: inputs (k, n, i), weights (k, o, i) and biases (k, o) to outputs (k, n, o).

    Every product is the one that torch computes for one network, of matrices that lie in memory in the same way. That
    is why results and gradients have the same bytes.
    """

    @staticmethod
    def forward(context: Any, inputs: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
        """The outputs."""
        context.save_for_backward(inputs, weights)
        return _products(inputs, weights.transpose(1, 2), biases)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """Gradients of inputs (None if they need none), weights and biases."""
        inputs, weights = context.saved_tensors
        outer = gradients[0].contiguous()
        of_inputs = _products(outer, weights) if context.needs_input_grad[0] else None
        of_biases = torch.stack([one.sum(0) for one in outer])
        return of_inputs, _products(outer.transpose(1, 2), inputs), of_biases


def _products(first: Tensor, second: Tensor, added: Tensor | None = None) -> Tensor:
    """The products (k, n, m) of k matrices (n, i) and (i, m), one after the other, plus added (k, m) in every row."""
    whole = first.new_empty(len(first), first.shape[1], second.shape[2])
    own = _placed(whole)
    factors = zip(own, _placed(first), _placed(second), strict=True)
    for number, (out, left, right) in enumerate(factors):
        if added is None:
            torch.mm(left, right, out=out)
        else:
            torch.addmm(added[number], left, right, out=out)
    return whole if own is whole else torch.stack(tuple(own))


def _placed(matrices: Tensor) -> Sequence[Tensor] | Tensor:
    """The matrices, each at an address that torch would give it: a multiple of ALIGNED bytes. Others are copied."""
    if matrices[0].numel() * matrices.element_size() % ALIGNED == 0:
        return matrices
    return [matrix.clone() for matrix in matrices]  # strides are kept, so that products are those of one network


def stacked(modules: Sequence[nn.Module]) -> MLP:
    """An MLP each of whose parameters holds those of all these MLPs, along a new first axis; they are not changed."""
    whole = copy.deepcopy(modules[0])
    assert isinstance(whole, MLP)
    every = [dict(module.named_parameters()) for module in modules]
    for name, layer in whole.named_modules():
        if isinstance(layer, nn.Linear):
            layer.weight = nn.Parameter(torch.stack([one[f"{name}.weight"].detach() for one in every]))
            layer.bias = nn.Parameter(torch.stack([one[f"{name}.bias"].detach() for one in every]))
    return whole.train()


def _logits(module: MLP, inputs: Tensor, networks: int) -> Tensor:
    """Logits (k, n, classes) of images (k * n, channels, height, width), network after network."""
    values = module.flatten(module.normalise(inputs)).unflatten(0, (networks, -1))
    for layer in module.layers:
        if isinstance(layer, nn.Linear):
            values = ManyLinear.apply(values, layer.weight, layer.bias)
        else:
            values = layer(values) if isinstance(layer, EXACT) else torch.stack([layer(one) for one in values])
    return values


def _fit(state: TrainingState, courses: Sequence[TrainingImages], report: Report) -> None:
    settings, steps, networks = state.settings, state.steps, len(courses)
    pixels = torch.from_numpy(courses[0].images.images.copy())
    labels = [course.labels() for course in courses]
    state.begin()
    for epoch in range(len(state.history), settings.epochs):
        generators = [course.generator(epoch) for course in courses]
        orders = [torch.randperm(len(pixels), generator=generator) for generator in generators]
        totals = [0.0] * networks
        for step in range(steps):
            rows = [order[step * settings.batch : (step + 1) * settings.batch] for order in orders]
            augment = AUGMENTATIONS[settings.augment]
            seen = [augment(pixels.index_select(0, r), g) for r, g in zip(rows, generators, strict=True)]
            targets = torch.stack([own.index_select(0, r) for r, own in zip(rows, labels, strict=True)])
            losses = _step(state, torch.cat(seen).float().div_(255), targets)
            totals = [total + loss for total, loss in zip(totals, losses, strict=True)]
            if step % REPORT_EVERY == 0:
                done = (epoch * steps + step) / (settings.epochs * steps)
                mean = sum(losses) / networks
                report("train", done, f"epoch {epoch + 1} of {settings.epochs}, {networks} networks, loss {mean:.3f}")
        own_losses = {f"train_loss {number}": total / steps for number, total in enumerate(totals)}
        state.end_epoch({"epoch": epoch + 1, **own_losses})
    report("train", 1.0, "trained")


def _step(state: TrainingState, inputs: Tensor, targets: Tensor) -> list[float]:
    """One step of every network; their losses. inputs: (k * n, channels, height, width).  targets: (k, n)."""
    assert isinstance(state.module, MLP)
    state.optimiser.zero_grad(set_to_none=True)
    scores = F.log_softmax(_logits(state.module, inputs, len(targets)), 2)
    # The sum of the networks' mean losses: no network's gradient depends on another network.
    (F.nll_loss(scores.flatten(0, 1), targets.flatten(), reduction="sum") / targets.shape[1]).backward()  # type: ignore[no-untyped-call]
    state.optimiser.step()
    state.schedule.step()
    return [float(F.nll_loss(one, target)) for one, target in zip(scores.detach(), targets, strict=True)]


def _part(tensors: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """The tensors of one of the networks, copied."""
    return {name: value[number].clone() for name, value in tensors.items()}
