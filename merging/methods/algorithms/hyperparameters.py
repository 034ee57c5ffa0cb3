"""Selection of a hyper-parameter on held-out training images, never on test images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from merging.errors import DataUnavailable
from merging.methods.problem import Problem
from merging.network.batch_norm import batch_norms, reset_batch_norm
from merging.network.data import Batches
from merging.network.outputs import answer_loss
from merging.network.permutation import Permutation, with_tensors

V = TypeVar("V")


@dataclass(frozen=True)
class Choice:
    """Result of a selection.

    Attributes:
        value: the candidate with the lowest held-out loss.
        tried: (value, loss in nats per image) of all candidates, in order.
    """

    value: Any
    tried: tuple[tuple[Any, float], ...]

    @property
    def notes(self) -> dict[str, Any]:
        """Return the entries for the report: `chosen`, and `tried`, the pairs [value, loss] of all candidates."""
        return {"chosen": self.value, "tried": [[value, loss] for value, loss in self.tried]}


@dataclass
class Shortlist:
    """Permutations that a method checks while it learns, each with its loss on both halves of the held-out images.

    Attributes:
        steps: step at which each permutation was checked.
        found: the permutations, group -> (units,) int64.
        losses: (loss on one half, loss on the other half) per permutation, in nats per image, or
            a single value.
    """

    steps: list[int] = field(default_factory=list)
    found: list[Permutation] = field(default_factory=list)
    losses: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, step: int, permutation: Permutation, losses: tuple[float, ...]) -> None:
        """Add a permutation, group -> (units,) int64."""
        self.steps.append(step)
        self.found.append(permutation)
        self.losses.append(losses)

    @property
    def best(self) -> Permutation:
        """Return the permutation with the lowest mean loss, the first if several have it."""
        return self.found[self._lowest(self._means)]

    @property
    def notes(self) -> dict[str, Any]:
        """Return the entries for the report: `checks`, `chosen` and, if each half has a loss, `alike`.

        `checks` are pairs [step, loss] of all permutations; `chosen` is the step of the best. For `alike`, each half
        alone selects a permutation: per group, the share of units that have the same partner in both. All permutations
        are learned from the same images, so `alike` does not measure how much they depend on the training images.
        """
        checks = [[step, mean] for step, mean in zip(self.steps, self._means, strict=True)]
        notes: dict[str, Any] = {"checks": checks, "chosen": self.steps[self._lowest(self._means)]}
        if len(self.losses[0]) < 2:
            return notes
        one, two = (self.found[self._lowest(half)] for half in zip(*self.losses, strict=True))
        return notes | {"alike": {name: float((one[name] == two[name]).double().mean()) for name in one}}

    @property
    def _means(self) -> list[float]:
        return [math.fsum(losses) / len(losses) for losses in self.losses]

    @staticmethod
    def _lowest(losses: Sequence[float]) -> int:
        return min(range(len(losses)), key=losses.__getitem__)


def held_out_split(data: Batches, held_out: int, seed: int) -> tuple[Batches, Batches]:
    """Return two disjoint random parts of the training images: one to learn from, and `held_out` images, at most half.

    Raises DataUnavailable if there is only one image.
    """
    if data.count < 2:
        raise DataUnavailable("Choosing a setting needs at least 2 training images. Provide more, or set its value.")
    sample = data.sample(data.count, seed)
    assert sample.order is not None
    cut = min(held_out, data.count // 2)
    return replace(sample, order=sample.order[cut:]), replace(sample, order=sample.order[:cut])


def mean_loss(net: nn.Module, data: Batches) -> float:
    """Return the mean cross-entropy in nats per image, float64; infinite if an output is NaN."""
    total = 0.0
    with torch.no_grad():
        for images, labels in data.on_model(net):
            total += float(answer_loss(net(images), labels, exact=True, reduction="sum"))
    return total / data.count if math.isfinite(total) else math.inf


def choose_by_loss(
    candidates: Sequence[V], build: Callable[[V], nn.Module], learn: Batches, held_out: Batches
) -> Choice:
    """Build a network per candidate and select the first candidate with the lowest loss on `held_out`.

    BatchNorm's statistics are first reset on `learn`; otherwise every candidate would have a very high loss.
    """
    tried = []
    for value in candidates:
        net = build(value)
        if batch_norms(net):
            net = reset_batch_norm(net, learn)
        tried.append((value, mean_loss(net, held_out)))
    return Choice(min(tried, key=lambda pair: pair[1])[0], tuple(tried))


def middle(problem: Problem, models: Sequence[dict[str, Tensor]]) -> nn.Module:
    """Return the plain mean of the aligned models' tensors, all of the same shapes, as a network."""
    from merging.methods.algorithms.averaging import weighted_mean

    return with_tensors(problem.models[0], weighted_mean(models, (1 / len(models),) * len(models)))
