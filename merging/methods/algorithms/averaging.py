"""The weighted mean of networks, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]


def weighted_mean(models: Sequence[Tensors], weights: Sequence[float]) -> dict[str, Tensor]:
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


def _mean(name: str, used: list[tuple[float, Tensors]]) -> Tensor:
    first = used[0][1][name]
    if len(used) == 1 and used[0][0] == 1:
        return first.clone()
    kind = torch.promote_types(first.dtype, torch.float32)
    total = used[0][0] * first.to(kind)
    for weight, tensors in used[1:]:
        total.add_(tensors[name].to(kind), alpha=weight)
    return total.to(first.dtype)
