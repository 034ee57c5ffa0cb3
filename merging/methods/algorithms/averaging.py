"""Weighted mean of networks, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]


def weighted_mean(models: Sequence[Tensors], weights: Sequence[float]) -> dict[str, Tensor]:
    """Return sum_k weights[k] * models[k], name -> tensor; models of weight 0 are left out.

    models: name -> tensor, of the same shape in all models. Half precision is summed in float32. Integer tensors, such
    as counters, are taken from the model of largest weight, or from the first of several such models. A tensor that is
    equal in all models is copied bit for bit, including infinities.
    """
    pairs = [(weight, tensors) for weight, tensors in zip(weights, models, strict=True) if weight != 0]
    heaviest = max(pairs, key=lambda item: item[0])[1]
    mixed = {
        name
        for name, tensor in heaviest.items()
        if (tensor.is_floating_point() or tensor.is_complex())
        and not all(tensor.equal(tensors[name]) for _, tensors in pairs)
    }
    return {name: _mean(name, pairs) if name in mixed else t.clone() for name, t in heaviest.items()}


def _mean(name: str, pairs: list[tuple[float, Tensors]]) -> Tensor:
    first = pairs[0][1][name]
    if len(pairs) == 1 and pairs[0][0] == 1:
        return first.clone()
    kind = torch.promote_types(first.dtype, torch.float32)
    total = pairs[0][0] * first.to(kind)
    for weight, tensors in pairs[1:]:
        total.add_(tensors[name].to(kind), alpha=weight)
    return total.to(first.dtype)
