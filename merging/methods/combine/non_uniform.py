"""NP Merge: a weight of its own for every parameter, learned on training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from merging.methods.problem import Combiner
from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from merging.methods.problem import Problem
    from merging.network.data import Batches

RATES = (0.01, 0.03, 0.1)
EPOCHS = 5
HELD_OUT = 1000  # training images that rate and epochs are chosen on


@dataclass(frozen=True)
class NonUniformSettings:
    """How the weights are learned."""

    images: int = setting(5000, label="Training images", low=20, high=1_000_000, help="How many are looked at.")
    batch: int = setting(125, label="Batch", low=2, high=10_000, unit="images", help="Images a step.")
    rate: float = setting(
        0.0,
        label="Learning rate",
        low=0.0,
        high=10.0,
        help="Of Adam. 0 tries .01, .03 and .1 and keeps the best on held-out training images.",
    )
    epochs: int = setting(
        0,
        label="Epochs",
        low=0,
        high=1000,
        unit="epochs",
        help="0 runs five and keeps the best on held-out training images; the plain average counts as epoch 0.",
    )


@method(
    "combine",
    "non-uniform",
    label="NP Merge",
    paper="Orozco Camacho et al.: Non-Uniform Parameter-Wise Model Merging (2024)",
    link="https://arxiv.org/abs/2412.15467",
    summary="Learns on training images how much of A and how much of B each single parameter takes.",
    limits="Needs training images and minutes. The paper tells neither learning rate nor epochs: left open, they are "
    "chosen on held-out training images. Several models are merged one after another, so their order matters.",
    settings=NonUniformSettings,
    needs_data=True,
)
def non_uniform(problem: Problem, settings: NonUniformSettings) -> Combiner:
    """W = s(a) W_A + (1 - s(a)) W_B for every parameter, s the logistic function, `a` learned from 0 by Adam on the
    training loss at equal weights; further models join one by one.

    Other weights than equal ones shift every `a` alike, so that a model with all the weight comes out as it is and
    equal weights give the learned merge. With BatchNorm, batches are normalised by their own statistics; running
    statistics are averaged, so a reset should follow.
    Notes: by joining model, `rate`, `epoch` chosen and `tried`: [rate, epoch, held-out loss]; `images` learned from.
    """
    from merging.methods.algorithms.averaging import weighted_mean
    from merging.methods.algorithms.gradient_training import parameters_of
    from merging.methods.algorithms.hyperparameters import held_out_split
    from merging.network.data import training_sample
    from merging.network.permutation import named_tensors
    from merging.results.reports import letter

    sample = training_sample(problem.data, settings.images, problem.seed)
    learn, held_out = held_out_split(sample.sized(settings.batch), HELD_OUT, problem.seed)
    parameters = [parameters_of(model) for model in problem.aligned]
    logits, notes, merged = [], {}, parameters[0]
    for number, other in enumerate(parameters[1:], 1):
        share = 1 / (number + 1)
        found, told = _learn(problem, (merged, other), share, learn, held_out, settings)
        merged = _mixed(merged, other, found, share)
        logits.append(found)
        notes[letter(number)] = told
    tensors = [named_tensors(model) for model in problem.aligned]

    def run(weights: tuple[float, ...]) -> dict[str, Tensor]:
        """The mixture for these weights, one a model."""
        total, point = weights[0], parameters[0]
        for weight, other, found in zip(weights[1:], parameters[1:], logits, strict=True):
            total += weight
            point = _mixed(point, other, found, weight / total if total else 0.0)
        kinds = {name: tensor.dtype for name, tensor in tensors[0].items()}
        return weighted_mean(tensors, weights) | {name: t.to(kinds[name], copy=True) for name, t in point.items()}

    return Combiner(run, {"by_model": notes, "images": learn.count, "held_out": held_out.count})


def _mixed(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], logits: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """s A + (1 - s) B with s the logistic function of the logits shifted to b's share; exact where that is 0 or 1."""
    import math

    if share in (0, 1):
        return dict(b if share else a)
    shift = math.log((1 - share) / share)
    return {name: b[name] + (own + shift).sigmoid() * (a[name] - b[name]) for name, own in logits.items()}


def _learn(
    problem: Problem,
    pair: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    share: float,
    learn: Batches,
    held_out: Batches,
    settings: NonUniformSettings,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The logits of lowest held-out loss over rates and epochs, and what was tried."""
    import torch

    from merging.methods.algorithms.gradient_training import Forward, descend, without_end

    forward, (a, b) = Forward(problem.models[0]), pair
    rates: Sequence[float] = (settings.rate,) if settings.rate else RATES
    epochs = settings.epochs or EPOCHS
    best = {name: torch.zeros_like(tensor) for name, tensor in a.items()}
    tried: list[list[Any]] = [[0.0, 0, forward.mean_loss(_mixed(a, b, best, share), held_out)]]
    chosen = tried[0] if not settings.epochs else None
    for number, rate in enumerate(rates):
        leaves = {name: torch.zeros_like(tensor).requires_grad_() for name, tensor in a.items()}

        def loss(images: Tensor, labels: Tensor, leaves: dict[str, Tensor] = leaves) -> Tensor:
            """Of the mixture that the leaves say, on images (n, ...) and labels (n,)."""
            return forward.loss(_mixed(a, b, leaves, share), images, labels)

        steps = descend(leaves, rate, without_end(learn, forward.twin, problem.seed), loss)
        for epoch in range(1, epochs + 1):
            for _ in range(len(learn.even())):
                next(steps)
            now = {name: leaf.detach().clone() for name, leaf in leaves.items()}
            tried.append([rate, epoch, forward.mean_loss(_mixed(a, b, now, share), held_out)])
            wanted = not settings.epochs or epoch == epochs
            if wanted and (chosen is None or tried[-1][2] < chosen[2]):
                best, chosen = now, tried[-1]
            done = (number + epoch / epochs) / len(rates)
            problem.report("combining", done, f"rate {rate:g}, epoch {epoch}: held-out loss {tried[-1][2]:.3f}")
    assert chosen is not None
    return best, {"rate": chosen[0], "epoch": chosen[1], "tried": tried}
