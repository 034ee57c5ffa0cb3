"""Sinkhorn Re-Basin: soft permutations from Sinkhorn's iteration, learned by gradient descent and then rounded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.methods.problem import Alignment
from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from merging.methods.problem import Problem
    from merging.network.permutation import PermutationSpec

HELD_OUT = 1000  # training images for the held-out loss of rounded permutations
CHECKS = 20  # number of rounded permutations evaluated during learning
NOISE = 0.1  # standard deviation of the noise added to the identity at the start, as published


@dataclass(frozen=True)
class SinkhornSettings:
    """Settings: the objective and how it is minimised."""

    objective: str = setting(
        "weights",
        label="Objective",
        choices=("weights", "midpoint", "random"),
        help="The squared weight distance of A and B (no images needed), the loss half-way, or the loss at random λ.",
    )
    steps: int = setting(200, label="Steps", low=1, high=100_000, help="Gradient steps.")
    rate: float = setting(0.1, label="Learning rate", low=1e-6, high=10.0, help="Learning rate of Adam.")
    temperature: float = setting(
        1.0,
        label="Temperature",
        low=1e-3,
        high=100.0,
        help="A lower temperature makes the soft permutations closer to hard ones, and their gradients smaller.",
    )
    iterations: int = setting(
        20, label="Iterations", low=1, high=1000, help="Iterations of Sinkhorn's normalisation per step."
    )
    images: int = setting(
        5000, label="Training images", low=20, high=1_000_000, help="Number of training images for the loss objectives."
    )
    batch: int = setting(125, label="Batch", low=2, high=10_000, unit="images", help="Images per step.")


@method(
    "align",
    "sinkhorn",
    label="Sinkhorn",
    paper="Peña et al.: Re-basin via Implicit Sinkhorn Differentiation (CVPR 2023)",
    link="https://arxiv.org/abs/2212.12042",
    summary="Learns soft permutations by gradient descent on weight distance or merge loss, then rounds them.",
    limits="Needs training images only for the loss objectives. Starts near the identity and often ends near it: "
    "weight matching is faster and usually better. The best rounded permutation found on the way is kept.",
    settings=SinkhornSettings,
)
def sinkhorn(problem: Problem, settings: SinkhornSettings) -> Alignment:
    """Learn soft permutations P = Sinkhorn(X / temperature) with Adam over X, and return the best one after rounding.

    X starts at I + .1 N(0, 1). The identity and permutations rounded at regular steps are ranked by sum <W_A, pi(W_B)>
    for the objective "weights", else by the held-out loss half-way. BatchNorm normalises by the batch's statistics.
    Notes of the alignment: `objective`; `checks`, pairs [step, value], and the `chosen` step; `images` and `held_out`,
    the numbers of images to learn from and held out (both 0 for "weights"); for the loss objectives also `alike`, by
    group, as in `hyperparameters.Shortlist`.
    """
    import torch

    from merging.methods.algorithms.coordinate_descent import assign
    from merging.methods.algorithms.frank_wolfe import soften
    from merging.methods.algorithms.gradient_training import descend, parameters_of
    from merging.methods.algorithms.hyperparameters import Shortlist
    from merging.network.permutation import permute_tensors, restricted

    a, b = (parameters_of(model) for model in problem.models)
    spec = restricted(problem.spec, a)
    rng = torch.Generator().manual_seed(problem.seed)
    goal = _weights_goal(a, spec) if settings.objective == "weights" else _loss_goal(problem, settings, a, rng)
    x = {group.name: _start(group.size, rng, next(iter(a.values()))) for group in spec.groups}

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        """Return the objective for B softly permuted by X, on images (n, ...) and labels (n,)."""
        soft = {name: doubly_stochastic(p / settings.temperature, settings.iterations) for name, p in x.items()}
        return goal.loss(soften(b, spec, soft), images, labels)

    checks = Shortlist()
    checks.add(0, spec.identity(), goal.judged(b))
    every = max(1, settings.steps // CHECKS)
    for step, value in zip(range(1, settings.steps + 1), descend(x, settings.rate, goal.batches, loss), strict=False):
        if step % every == 0 or step == settings.steps:
            permutation = {name: assign(p) for name, p in x.items()}
            checks.add(step, permutation, goal.judged(permute_tensors(b, spec, permutation)))
        problem.report("matching", step / settings.steps, f"step {step}, {value:.4g}")
    notes = {"objective": settings.objective, **checks.notes, "images": goal.images, "held_out": goal.held_out}
    return Alignment((problem.spec.identity(), checks.best), notes)


@dataclass(frozen=True)
class _Goal:
    """Objective to minimise.

    Attributes:
        loss: returns the objective for softly permuted parameters on one batch of images and labels.
        judged: returns values that rank permuted parameters (lower is better): one per half of the held-out images, or
            a single one.
        batches: endless batches for `loss`.
        images: number of images in `batches`.
        held_out: number of images that `judged` uses.
    """

    loss: Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]
    judged: Callable[[Mapping[str, Tensor]], tuple[float, ...]]
    batches: Iterator[tuple[Tensor, Tensor]]
    images: int = 0
    held_out: int = 0


def _weights_goal(a: Mapping[str, Tensor], spec: PermutationSpec) -> _Goal:
    import torch

    from merging.methods.algorithms.coordinate_descent import objective

    def distance(permuted: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        """Return |A - permuted|^2, summed over all permuted tensors; images (n, ...) and labels (n,) are ignored."""
        return torch.stack([(a[name] - permuted[name]).square().sum() for name in spec.by_parameter]).sum()

    nothing = torch.zeros(0)
    return _Goal(distance, lambda permuted: (-objective(a, permuted),), itertools.repeat((nothing, nothing)))


def _loss_goal(problem: Problem, settings: SinkhornSettings, a: Mapping[str, Tensor], rng: Generator) -> _Goal:
    import torch

    from merging.methods.algorithms.gradient_training import Forward, halfway, without_end
    from merging.methods.algorithms.hyperparameters import held_out_split
    from merging.network.data import training_sample

    forward = Forward(problem.models[0])
    sample = training_sample(problem.data, settings.images, problem.seed).sized(settings.batch)
    learn, held_out = held_out_split(sample, HELD_OUT, problem.seed)

    def loss(permuted: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss at one point between A and the permuted parameters, on images (n, ...) and labels (n,)."""
        share = 0.5 if settings.objective == "midpoint" else float(torch.rand((), generator=rng))
        return forward.loss({name: torch.lerp(t, permuted[name], share) for name, t in a.items()}, images, labels)

    def judged(permuted: Mapping[str, Tensor]) -> tuple[float, ...]:
        """Return the loss half-way between A and the permuted parameters, per half of the held-out images."""
        return forward.losses_by_half(halfway(a, permuted), held_out)

    return _Goal(loss, judged, without_end(learn, forward.twin, problem.seed), learn.count, held_out.count)


def _start(size: int, rng: Generator, like: Tensor) -> Tensor:
    """Return the start X, (units, units): the identity plus noise, as a leaf tensor like `like`."""
    import torch

    return (torch.eye(size) + NOISE * torch.randn(size, size, generator=rng)).to(like).requires_grad_()


def doubly_stochastic(logits: Tensor, iterations: int) -> Tensor:
    """Normalise rows and columns of exp(logits), (n, n), in turn to sum to 1: Sinkhorn's iteration in log space."""
    for _ in range(iterations):
        logits = logits - logits.logsumexp(1, keepdim=True)
        logits = logits - logits.logsumexp(0, keepdim=True)
    return logits.exp()
