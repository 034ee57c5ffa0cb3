"""The weighted average of the aligned weights: a point on the straight line between two nets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from merging.methods import method
from merging.settings import NoSettings

if TYPE_CHECKING:
    from torch import Tensor

    from merging.problem import Problem


@method(
    "combine",
    "average",
    label="Average",
    paper="Ainsworth, Hayase, Srinivasa: Git Re-Basin (ICLR 2023)",
    link="https://arxiv.org/abs/2209.04836",
    summary="Averages the weights of matched units, half and half or as far along the line as asked.",
    limits="Shrinks activations where the units differ; a correction restores their scale.",
)
def average(problem: Problem, weights: tuple[float, ...], settings: NoSettings) -> dict[str, Tensor]:
    """sum_k weights[k] * W_k over the aligned models, name -> tensor of the models' shapes and dtypes.

    weights: one a model, summing to 1. A model of weight 0 is not looked at, so that weights (1, 0) give the first
    model's tensors bit for bit. Half precision is summed in float32; counters and other whole numbers are those of
    the heaviest model, the first of equals.
    """
    from merging.permutation import named_tensors

    del settings
    used = [(w, named_tensors(model)) for w, model in zip(weights, problem.aligned, strict=True) if w != 0]
    heaviest = max(used, key=lambda item: item[0])[1]
    return {name: _mean(name, used) if t.is_floating_point() else t.clone() for name, t in heaviest.items()}


def _mean(name: str, used: list[tuple[float, dict[str, Tensor]]]) -> Tensor:
    import torch

    first = used[0][1][name]
    if len(used) == 1 and used[0][0] == 1:
        return first.clone()
    kind = torch.float64 if first.dtype == torch.float64 else torch.float32
    total = used[0][0] * first.to(kind)
    for weight, tensors in used[1:]:
        total.add_(tensors[name].to(kind), alpha=weight)
    return total.to(first.dtype)
