"""Weighted average of the aligned models' tensors: a point on the straight line between two nets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from merging.methods.problem import Combiner
from merging.methods.registry import method
from merging.settings import NoSettings

if TYPE_CHECKING:
    from merging.methods.problem import Problem


@method(
    "combine",
    "average",
    label="Average",
    paper="Ainsworth, Hayase, Srinivasa: Git Re-Basin (ICLR 2023)",
    link="https://arxiv.org/abs/2209.04836",
    summary="Averages the weights of matched units, in equal shares or at any point on the line between the networks.",
    limits="Activations shrink where matched units differ; a correction restores their scale.",
)
def average(problem: Problem, settings: NoSettings) -> Combiner:
    """Combine the aligned models as sum_k weights[k] * W_k, name -> tensor of the models' shapes and dtypes.

    A model of weight 0 is left out, so that weights (1, 0) give the first model's tensors bit for bit.
    """
    from merging.methods.algorithms.averaging import weighted_mean
    from merging.network.permutation import named_tensors

    del settings
    tensors = [named_tensors(model) for model in problem.aligned]
    return Combiner(lambda weights: weighted_mean(tensors, weights))
