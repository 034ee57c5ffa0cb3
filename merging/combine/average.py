"""The weighted average of the aligned weights: a point on the straight line between two nets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from merging.methods import method
from merging.problem import Combiner
from merging.settings import NoSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
def average(problem: Problem, settings: NoSettings) -> Combiner:
    """sum_k weights[k] * W_k over the aligned models, name -> tensor of the models' shapes and dtypes.

    A model of weight 0 is not looked at, so that weights (1, 0) give the first model's tensors bit for bit.
    """
    from merging.permutation import named_tensors

    del settings
    tensors = [named_tensors(model) for model in problem.aligned]
    return Combiner(lambda weights: weighted_mean(tensors, weights))


def weighted_mean(models: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """sum_k weights[k] * models[k], name -> tensor of one shape in all models; models of weight 0 are left out.

    Half precision is summed in float32; counters and other whole numbers are those of the heaviest model, the first of
    equals. A tensor that is the same in all stays so bit for bit, infinities too.
    """
    used = [(weight, tensors) for weight, tensors in zip(weights, models, strict=True) if weight != 0]
    heaviest = max(used, key=lambda item: item[0])[1]
    mixed = {
        name
        for name, tensor in heaviest.items()
        if (tensor.is_floating_point() or tensor.is_complex())
        and not all(tensor.equal(tensors[name]) for _, tensors in used)
    }
    return {name: _mean(name, used) if name in mixed else t.clone() for name, t in heaviest.items()}


def _mean(name: str, used: list[tuple[float, Mapping[str, Tensor]]]) -> Tensor:
    import torch

    first = used[0][1][name]
    if len(used) == 1 and used[0][0] == 1:
        return first.clone()
    kind = torch.promote_types(first.dtype, torch.float32)
    total = used[0][0] * first.to(kind)
    for weight, tensors in used[1:]:
        total.add_(tensors[name].to(kind), alpha=weight)
    return total.to(first.dtype)
