"""Sinkhorn Re-Basin: soft permutations by Sinkhorn's iteration, learned by gradients and hardened at the end."""

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

HELD_OUT = 1000  # training images that permutations are judged by
CHECKS = 20  # how often that is done
NOISE = 0.1  # of the start around the identity, as published


@dataclass(frozen=True)
class SinkhornSettings:
    """What is made small, and how."""

    objective: str = setting(
        "weights",
        label="Objective",
        choices=("weights", "midpoint", "random"),
        help="The squared distance of A's and B's weights (needs no images); the loss half-way; the loss at random λ.",
    )
    steps: int = setting(200, label="Steps", low=1, high=100_000, help="Gradient steps.")
    rate: float = setting(0.1, label="Learning rate", low=1e-6, high=10.0, help="Of Adam.")
    temperature: float = setting(
        1.0, label="Temperature", low=1e-3, high=100.0, help="Lower ones make permutations harder and gradients rarer."
    )
    iterations: int = setting(20, label="Iterations", low=1, high=1000, help="Of Sinkhorn's normalisation.")
    images: int = setting(5000, label="Training images", low=20, high=1_000_000, help="For the loss objectives.")
    batch: int = setting(125, label="Batch", low=2, high=10_000, unit="images", help="Images a step.")


@method(
    "align",
    "sinkhorn",
    label="Sinkhorn",
    paper="Peña et al.: Re-basin via Implicit Sinkhorn Differentiation (CVPR 2023)",
    link="https://arxiv.org/abs/2212.12042",
    summary="Learns soft permutations by gradients, on the weights' distance or on the merge's loss, and hardens them.",
    limits="Needs training images for the loss objectives only. Starts near the identity and often ends near it: "
    "weight matching is faster and mostly better. The hardened permutation kept is the best one on the way.",
    settings=SinkhornSettings,
)
def sinkhorn(problem: Problem, settings: SinkhornSettings) -> Alignment:
    """The best hardened permutation on the way of Adam over X, P = Sinkhorn(X / temperature), X = I + .1 N(0, 1).

    Best by sum <W_A, pi(W_B)> for the objective "weights", else by the held-out loss half-way; the identity is tried
    too. BatchNorm normalises by the batch.
    Notes: `objective`; `checks`: [step, value], and the `chosen` step; `images` learned from (0 without); for losses
    `alike`, by group, as in `choosing.Shortlist`.
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
        """Of B moved softly as X says, on images (n, ...) and labels (n,)."""
        soft = {name: doubly_stochastic(p / settings.temperature, settings.iterations) for name, p in x.items()}
        return goal.loss(soften(b, spec, soft), images, labels)

    checks = Shortlist()
    checks.add(0, spec.identity(), goal.judged(b))
    every = max(1, settings.steps // CHECKS)
    for step, value in zip(range(1, settings.steps + 1), descend(x, settings.rate, goal.batches, loss), strict=False):
        if step % every == 0 or step == settings.steps:
            found = {name: assign(p) for name, p in x.items()}
            checks.add(step, found, goal.judged(permute_tensors(b, spec, found)))
        problem.report("matching", step / settings.steps, f"step {step}, {value:.4g}")
    notes = {"objective": settings.objective, **checks.notes, "images": goal.images, "held_out": goal.held_out}
    return Alignment((problem.spec.identity(), checks.best), notes)


@dataclass(frozen=True)
class _Goal:
    """loss: of softly moved parameters on a batch.  judged: of permuted parameters, by either half of the images where
    there are some; lower is better.  images, held_out: how many it learns from, and judges by."""

    loss: Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]
    judged: Callable[[Mapping[str, Tensor]], tuple[float, ...]]
    batches: Iterator[tuple[Tensor, Tensor]]
    images: int = 0
    held_out: int = 0


def _weights_goal(a: Mapping[str, Tensor], spec: PermutationSpec) -> _Goal:
    import torch

    from merging.methods.algorithms.coordinate_descent import objective

    def distance(moved: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        """|A - moved|^2 over tensors of one shape; images and labels are not looked at."""
        return torch.stack([(a[name] - moved[name]).square().sum() for name in spec.by_parameter]).sum()

    nothing = torch.zeros(0)
    return _Goal(distance, lambda moved: (-objective(a, moved),), itertools.repeat((nothing, nothing)))


def _loss_goal(problem: Problem, settings: SinkhornSettings, a: Mapping[str, Tensor], rng: Generator) -> _Goal:
    import torch

    from merging.methods.algorithms.gradient_training import Forward, halfway, without_end
    from merging.methods.algorithms.hyperparameters import held_out_split
    from merging.network.data import training_sample

    forward = Forward(problem.models[0])
    sample = training_sample(problem.data, settings.images, problem.seed).sized(settings.batch)
    learn, held_out = held_out_split(sample, HELD_OUT, problem.seed)

    def loss(moved: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        """On the line from A to the moved parameters, for images (n, ...) and labels (n,)."""
        share = 0.5 if settings.objective == "midpoint" else float(torch.rand((), generator=rng))
        return forward.loss({name: torch.lerp(t, moved[name], share) for name, t in a.items()}, images, labels)

    def judged(moved: Mapping[str, Tensor]) -> tuple[float, ...]:
        """The loss half-way to moved parameters (name -> tensor of A's shapes), by each half of the held-out images."""
        return forward.losses_by_half(halfway(a, moved), held_out)

    return _Goal(loss, judged, without_end(learn, forward.twin, problem.seed), learn.count, held_out.count)


def _start(size: int, rng: Generator, like: Tensor) -> Tensor:
    """X, (units, units): the identity with noise, a leaf on the device and of the dtype of `like`."""
    import torch

    return (torch.eye(size) + NOISE * torch.randn(size, size, generator=rng)).to(like).requires_grad_()


def doubly_stochastic(logits: Tensor, iterations: int) -> Tensor:
    """Sinkhorn's iteration in the log domain: rows and columns of exp(logits), (n, n), made to sum to one in turns."""
    for _ in range(iterations):
        logits = logits - logits.logsumexp(1, keepdim=True)
        logits = logits - logits.logsumexp(0, keepdim=True)
    return logits.exp()
