"""NP Merge: a separate mixing weight for every parameter, learned on training images."""

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
HELD_OUT = 1000  # training images for the selection of rate and epochs


@dataclass(frozen=True)
class NonUniformSettings:
    """Settings: images, batch size, learning rate and epochs for learning the mixing weights."""

    images: int = setting(
        5000,
        label="Training images",
        low=20,
        high=1_000_000,
        help="Number of training images, including held-out ones.",
    )
    batch: int = setting(125, label="Batch", low=2, high=10_000, unit="images", help="Images per step.")
    rate: float = setting(
        0.0,
        label="Learning rate",
        low=0.0,
        high=10.0,
        help="Learning rate of Adam. 0 tries .01, .03 and .1 and keeps the best one on held-out training images.",
    )
    epochs: int = setting(
        0,
        label="Epochs",
        low=0,
        high=1000,
        unit="epochs",
        help="0 runs five epochs and keeps the best one on held-out training images; epoch 0 is the plain average.",
    )


@method(
    "combine",
    "non-uniform",
    label="NP Merge",
    paper="Orozco Camacho et al.: Non-Uniform Parameter-Wise Model Merging (2024)",
    link="https://arxiv.org/abs/2412.15467",
    summary="Learns on training images, for each single parameter, how much it takes from A and how much from B.",
    limits="Needs training images and takes minutes. The paper states neither learning rate nor epochs; by default, "
    "they are chosen on held-out training images. Several models are merged one after another, so their order matters.",
    settings=NonUniformSettings,
    needs_data=True,
)
def non_uniform(problem: Problem, settings: NonUniformSettings) -> Combiner:
    """Combine as W = s(a) W_A + (1 - s(a)) W_B with one learned logit `a` per parameter, s the logistic function.

    `a` starts at 0 and is learned by Adam on the training loss at equal weights; further models join one by one.
    Unequal weights shift all logits by the same amount: equal weights give the learned merge, and a model with all the
    weight is returned unchanged. With BatchNorm, each batch is normalised by its own statistics while learning. The
    running statistics are averaged, so a BatchNorm reset should follow.
    Notes of the combination: `by_model`, for each model that joins, the selected `rate` and `epoch`, and `tried`, rows
    [rate, epoch, held-out loss]; `images` and `held_out`, the numbers of images to learn from and held out.
    """
    from merging.methods.algorithms.averaging import weighted_mean
    from merging.methods.algorithms.gradient_training import parameters_of
    from merging.methods.algorithms.hyperparameters import held_out_split
    from merging.naming import letter
    from merging.network.data import training_sample
    from merging.network.permutation import named_tensors

    sample = training_sample(problem.data, settings.images, problem.seed)
    learn, held_out = held_out_split(sample.sized(settings.batch), HELD_OUT, problem.seed)
    parameters = [parameters_of(model) for model in problem.aligned]
    logits, notes, merged = [], {}, parameters[0]
    for number, other in enumerate(parameters[1:], 1):
        share = 1 / (number + 1)
        learned, notes[letter(number)] = _learn(problem, (merged, other), share, learn, held_out, settings)
        merged = _mixed(merged, other, learned, share)
        logits.append(learned)
    tensors = [named_tensors(model) for model in problem.aligned]

    def run(weights: tuple[float, ...]) -> dict[str, Tensor]:
        """Return the mixture for these weights, one per model."""
        total, point = weights[0], parameters[0]
        for weight, other, learned in zip(weights[1:], parameters[1:], logits, strict=True):
            total += weight
            point = _mixed(point, other, learned, weight / total if total else 0.0)
        kinds = {name: tensor.dtype for name, tensor in tensors[0].items()}
        return weighted_mean(tensors, weights) | {name: t.to(kinds[name], copy=True) for name, t in point.items()}

    return Combiner(run, {"by_model": notes, "images": learn.count, "held_out": held_out.count})


def _mixed(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], logits: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return s A + (1 - s) B, s the logistic function of the logits, shifted so that B's part is `share` at logit 0.

    A share of 0 or 1 returns A or B exactly.
    """
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
    """Return the logits of lowest held-out loss over rates and epochs, and the notes of this search."""
    import torch

    from merging.methods.algorithms.gradient_training import Forward, descend, without_end

    forward, (a, b) = Forward(problem.models[0]), pair
    rates: Sequence[float] = (settings.rate,) if settings.rate else RATES
    epochs = settings.epochs or EPOCHS
    best = {name: torch.zeros_like(tensor) for name, tensor in a.items()}
    tried: list[list[Any]] = [[0.0, 0, forward.mean_loss(_mixed(a, b, best, share), held_out)]]
    lowest = tried[0] if not settings.epochs else None
    for number, rate in enumerate(rates):
        leaves = {name: torch.zeros_like(tensor).requires_grad_() for name, tensor in a.items()}

        def loss(images: Tensor, labels: Tensor, leaves: dict[str, Tensor] = leaves) -> Tensor:
            """Return the loss of the mixture with these logits, on images (n, ...) and labels (n,)."""
            return forward.loss(_mixed(a, b, leaves, share), images, labels)

        steps = descend(leaves, rate, without_end(learn, forward.twin, problem.seed), loss)
        for epoch in range(1, epochs + 1):
            for _ in range(len(learn.even())):
                next(steps)
            now = {name: leaf.detach().clone() for name, leaf in leaves.items()}
            tried.append([rate, epoch, forward.mean_loss(_mixed(a, b, now, share), held_out)])
            eligible = not settings.epochs or epoch == epochs
            if eligible and (lowest is None or tried[-1][2] < lowest[2]):
                best, lowest = now, tried[-1]
            fraction = (number + epoch / epochs) / len(rates)
            problem.report("combining", fraction, f"rate {rate:g}, epoch {epoch}: held-out loss {tried[-1][2]:.3f}")
    assert lowest is not None
    return best, {"rate": lowest[0], "epoch": lowest[1], "tried": tried}
