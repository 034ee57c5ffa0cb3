"""MergeMany: each model in turn is matched to the mean of the others (Ainsworth et al. 2023, Algorithm 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.methods.problem import Alignment
from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from merging.methods.problem import Problem


@dataclass(frozen=True)
class MergeManySettings:
    """Settings: bound on the number of rounds."""

    rounds: int = setting(
        50,
        label="Maximum rounds",
        low=1,
        high=10_000,
        help="The search visits every model at most this many times.",
    )


@method(
    "align",
    "merge-many",
    label="MergeMany",
    paper="Ainsworth, Hayase, Srinivasa: Git Re-Basin (ICLR 2023), Algorithm 3",
    link="https://arxiv.org/abs/2209.04836",
    summary="Matches the weights of each model in turn to the mean of all other models.",
    limits="Needs no data. Stops in a local optimum that depends on the order of visits.",
    settings=MergeManySettings,
    recovers_twin=True,
    joint=True,
)
def merge_many(problem: Problem, settings: MergeManySettings) -> Alignment:
    """Permute the models in turn so that each agrees best with the mean of the others; A, the first, ends unpermuted.

    Notes of the alignment: `objective`, the sum of <A, pi(B)> over all pairs, and `objective_at_identity`; `gains` per
    round; `settled`, whether the search stopped before the bound on rounds.
    """
    import numpy as np

    from merging.methods.algorithms.coordinate_descent import matchable, packed
    from merging.methods.algorithms.many_models import agreement_of, match_in_turns

    pairs = [packed(matchable(model, problem.spec), problem.spec) for model in problem.models]
    nets, spec = [net for net, _ in pairs], pairs[0][1]

    def tell(number: int, gain: float) -> None:
        problem.report("matching", number / (number + 1), f"round {number}, gain {gain:.3g}")

    start = [spec.identity() for _ in nets]
    end = match_in_turns(nets, spec, start, np.random.default_rng(problem.seed), settings.rounds, tell)
    notes = {
        "objective": agreement_of(nets, spec, end.permutations),
        "objective_at_identity": agreement_of(nets, spec, start),
        "gains": list(end.gains),
        "settled": end.settled,
    }
    return Alignment(end.permutations, notes)
