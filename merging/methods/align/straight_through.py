"""Straight-through estimator: learn weights x such that B matched to x merges well with A (Git Re-Basin, Alg. 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.methods.problem import Alignment
from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from merging.methods.problem import Problem
    from merging.network.permutation import Permutation

HELD_OUT = 1000  # training images for the held-out loss of permutations
CHECKS = 20  # number of permutations evaluated during learning


@dataclass(frozen=True)
class StraightThroughSettings:
    """Settings: length and rate of learning, number of images, batch size."""

    steps: int = setting(200, label="Steps", low=1, high=100_000, help="Gradient steps; each solves one matching.")
    rate: float = setting(1e-3, label="Learning rate", low=1e-6, high=1.0, help="Learning rate of Adam.")
    images: int = setting(
        5000,
        label="Training images",
        low=20,
        high=1_000_000,
        help="Number of training images, including held-out ones.",
    )
    batch: int = setting(125, label="Batch", low=2, high=10_000, unit="images", help="Images per step.")


@method(
    "align",
    "straight-through",
    label="Straight-through estimator",
    paper="Ainsworth, Hayase, Srinivasa: Git Re-Basin (ICLR 2023), Algorithm 2",
    link="https://arxiv.org/abs/2209.04836",
    summary="Learns by gradient descent the permutation with the lowest loss half-way; starts at weight matching.",
    limits="Needs training images and labels, and solves a weight matching at every step. Keeps the best permutation "
    "on held-out training images; the published code selects it on one batch.",
    settings=StraightThroughSettings,
    needs_data=True,
    recovers_twin=True,
)
def straight_through(problem: Problem, settings: StraightThroughSettings) -> Alignment:
    """Learn weights x by gradient descent; of the matches of B to x, return the one with the lowest held-out loss.

    x starts at A. Each step matches B to x, starting from the last match, and lowers the loss half-way between A and
    sg(pi(B)) + x - sg(x), where sg stops gradients. BatchNorm normalises by the batch's statistics.
    Notes of the alignment: `checks` (pairs [step, held-out loss], the first of weight matching), `chosen` (step) and
    `alike`, as in `hyperparameters.Shortlist`; `images` and `held_out`, the numbers of images of both kinds.
    """
    import numpy as np

    from merging.methods.algorithms.coordinate_descent import coordinate_descent, packed
    from merging.methods.algorithms.gradient_training import Forward, descend, halfway, parameters_of, without_end
    from merging.methods.algorithms.hyperparameters import Shortlist, held_out_split
    from merging.network.data import training_sample
    from merging.network.permutation import permute_tensors, restricted

    sample = training_sample(problem.data, settings.images, problem.seed).sized(settings.batch)
    learn, held_out = held_out_split(sample, HELD_OUT, problem.seed)
    a, b = (parameters_of(model) for model in problem.models)
    spec = restricted(problem.spec, a)
    forward, rng = Forward(problem.models[0]), np.random.default_rng(problem.seed)
    x = {name: tensor.clone().requires_grad_() for name, tensor in a.items()}
    target, groups = packed({name: t.contiguous() for name, t in b.items() if name in spec.by_parameter}, spec)
    match: Permutation = spec.identity()

    def matched() -> dict[str, Tensor]:
        """Match B to the current x, starting from the last match, and return B's permuted parameters."""
        nonlocal match
        point, _ = packed({name: x[name].detach() for name in spec.by_parameter if name in x}, spec)
        match = coordinate_descent(point, target, groups, match, rng, 100, lambda sweep, gain: None).permutation
        return permute_tensors(b, spec, match)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss half-way between A and the match, differentiable in x; images (n, ...), labels (n,)."""
        through = {name: tensor + (x[name] - x[name].detach()) for name, tensor in matched().items()}
        return forward.loss(halfway(a, through), images, labels)

    def check(step: int) -> None:
        losses = forward.losses_by_half(halfway(a, matched()), held_out)
        checks.add(step, match, losses)

    checks, every = Shortlist(), max(1, settings.steps // CHECKS)
    check(0)
    steps = descend(x, settings.rate, without_end(learn, forward.twin, problem.seed), loss)
    for step, value in zip(range(1, settings.steps + 1), steps, strict=False):
        if step % every == 0 or step == settings.steps:
            check(step)
        problem.report("matching", step / settings.steps, f"step {step}, loss {value:.3f}")
    notes = {**checks.notes, "images": learn.count, "held_out": held_out.count}
    return Alignment((problem.spec.identity(), checks.best), notes)
