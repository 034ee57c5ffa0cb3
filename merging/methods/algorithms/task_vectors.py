"""Task vectors (the experts' parameters minus those of their base network), and their scaled sums with the base."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from merging.methods.algorithms.averaging import weighted_mean
from merging.methods.algorithms.hyperparameters import choose_by_loss, held_out_split
from merging.methods.problem import Combiner, Problem
from merging.network.permutation import named_tensors, with_tensors

HELD_OUT = 2000  # training images for the selection of a scale
SCALES = tuple(round(0.1 * step, 1) for step in range(1, 16))

Tensors = Mapping[str, Tensor]
MergeVectors = Callable[[Sequence[Tensors], Sequence[float]], Tensors]


def scaled_sum(
    problem: Problem,
    merge_vectors: MergeVectors,
    prepare: Callable[[int, Tensors], Tensors],
    scale: float,
    plain: float,
) -> Combiner:
    """Return the combination base + scale * merge_vectors(task vectors, weights); buffers are averaged.

    Memory: one more copy of the parameters per model.

    Args:
        problem: the experts, aligned, with their base network.
        merge_vectors: merges the vectors (name -> tensor of the parameter's shape) with one weight per model into one.
        prepare: prepare(k, vector) preprocesses the vector of model k, once.
        scale: factor of the merged vector; 0 selects it on held-out training images, at equal weights.
        plain: the factor to use if `scale` is 0 and there are no images.
    """
    assert problem.base is not None  # `pipeline.merge.prepare` refuses a missing base
    base = {name: p.detach() for name, p in problem.base.named_parameters()}
    tensors = [named_tensors(model) for model in problem.aligned]
    vectors = [
        prepare(number, {name: (own[name].to(_kind(p)) - p.to(_kind(p))) for name, p in base.items()})
        for number, own in enumerate(tensors)
    ]

    def at(weights: Sequence[float], size: float) -> dict[str, Tensor]:
        """Return the merged tensors at these weights and this scale."""
        merged, step = weighted_mean(tensors, weights), merge_vectors(vectors, weights)
        return merged | {name: p.to(_kind(p)).add(step[name], alpha=size).to(p.dtype) for name, p in base.items()}

    factor, notes = scale or plain, {}
    if scale == 0 and problem.data is not None:
        learn, held_out = held_out_split(problem.data, HELD_OUT, problem.seed)
        equal = (1 / len(tensors),) * len(tensors)
        choice = choose_by_loss(SCALES, lambda size: with_tensors(problem.aligned[0], at(equal, size)), learn, held_out)
        factor, notes = choice.value, {**choice.notes, "images": held_out.count}
    return Combiner(lambda weights: at(weights, factor), _noted(vectors, factor) | notes)


def _kind(tensor: Tensor) -> Any:
    """Return the dtype for sums: float64 for float64, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _noted(vectors: Sequence[Tensors], scale: float) -> dict[str, Any]:
    lengths = [float(sum(v.double().square().sum() for v in vector.values())) ** 0.5 for vector in vectors]
    return {"scale": scale, "lengths": lengths}
