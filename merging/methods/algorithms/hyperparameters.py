"""Choosing a hyper-parameter on training images that the method itself did not see; never on test images."""

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
    """The value with the lowest held-out loss, and (value, loss in nats an image) of all that were tried, in order."""

    value: Any
    tried: tuple[tuple[Any, float], ...]

    @property
    def notes(self) -> dict[str, Any]:
        """For the report: `chosen`, and `tried`, the curve that it was chosen from."""
        return {"chosen": self.value, "tried": [[value, loss] for value, loss in self.tried]}


@dataclass
class Shortlist:
    """Permutations that a method met while it learned, each judged by the loss on two halves of the held-out images.

    steps, found: when, and which permutation.  losses: (half, half) in nats an image, or one number alone.
    """

    steps: list[int] = field(default_factory=list)
    found: list[Permutation] = field(default_factory=list)
    losses: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, step: int, permutation: Permutation, losses: tuple[float, ...]) -> None:
        """One more. permutation: group -> (units,)."""
        self.steps.append(step)
        self.found.append(permutation)
        self.losses.append(losses)

    @property
    def best(self) -> Permutation:
        """The permutation of lowest loss, the first of equals."""
        return self.found[self._lowest(self._means)]

    @property
    def notes(self) -> dict[str, Any]:
        """For the report: `checks`, [step, loss] of all; the `chosen` step; and by halves `alike`, by group: the share
        of units that get one partner from the permutations which either half alone would choose. All were learned from
        the same images, so that is no stability in their number."""
        checks = [[step, mean] for step, mean in zip(self.steps, self._means, strict=True)]
        told: dict[str, Any] = {"checks": checks, "chosen": self.steps[self._lowest(self._means)]}
        if len(self.losses[0]) < 2:
            return told
        one, two = (self.found[self._lowest(half)] for half in zip(*self.losses, strict=True))
        return told | {"alike": {name: float((one[name] == two[name]).double().mean()) for name in one}}

    @property
    def _means(self) -> list[float]:
        return [math.fsum(losses) / len(losses) for losses in self.losses]

    @staticmethod
    def _lowest(losses: Sequence[float]) -> int:
        return min(range(len(losses)), key=losses.__getitem__)


def held_out_split(data: Batches, held_out: int, seed: int) -> tuple[Batches, Batches]:
    """Disjoint random parts of the training images: what a method may learn from, and `held_out` (at most half of all)
    to judge it by. Raises DataUnavailable for a single image."""
    if data.count < 2:
        raise DataUnavailable("To choose a setting, 2 training images or more are needed; give more, or the setting.")
    drawn = data.sample(data.count, seed)
    assert drawn.order is not None
    cut = min(held_out, data.count // 2)
    return replace(drawn, order=drawn.order[cut:]), replace(drawn, order=drawn.order[:cut])


def mean_loss(net: nn.Module, data: Batches) -> float:
    """Mean cross-entropy in nats an image, float64; infinite where an output is not a number."""
    total = 0.0
    with torch.no_grad():
        for images, labels in data.on_model(net):
            total += float(answer_loss(net(images), labels, exact=True, reduction="sum"))
    return total / data.count if math.isfinite(total) else math.inf


def choose(candidates: Sequence[V], build: Callable[[V], nn.Module], learn: Batches, held_out: Batches) -> Choice:
    """Build a net for every candidate and keep the one of lowest loss on `held_out`, the first of equals.

    A net with BatchNorm has its statistics taken from `learn` first: else all candidates would look broken alike.
    """
    tried = []
    for value in candidates:
        net = build(value)
        if batch_norms(net):
            net = reset_batch_norm(net, learn)
        tried.append((value, mean_loss(net, held_out)))
    return Choice(min(tried, key=lambda pair: pair[1])[0], tuple(tried))


def middle(problem: Problem, models: Sequence[dict[str, Tensor]]) -> nn.Module:
    """The plain mean of aligned models' tensors, of shapes alike, as a network: to judge settings by."""
    from merging.methods.algorithms.averaging import weighted_mean

    return with_tensors(problem.models[0], weighted_mean(models, (1 / len(models),) * len(models)))
