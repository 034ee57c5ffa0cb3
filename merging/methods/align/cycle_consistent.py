"""C2M3: match all models to one common order of units, so that matches composed around a cycle are the identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.methods.problem import Alignment
from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from merging.methods.problem import Problem


@dataclass(frozen=True)
class CycleConsistentSettings:
    """Settings: start of the search and bound on its steps."""

    start: str = setting(
        "identity",
        label="Start",
        choices=("identity", "barycentre"),
        help="From the identity, as in the paper, or from the mean of all permutations (the barycentre).",
    )
    steps: int = setting(100, label="Maximum steps", low=1, high=10_000, help="The search stops after this many steps.")


@method(
    "align",
    "cycle-consistent",
    label="Cycle-consistent (C2M3)",
    paper="Crisostomi et al.: C2M3: Cycle-Consistent Multi-Model Merging (NeurIPS 2024)",
    link="https://arxiv.org/abs/2405.17897",
    summary="Matches all models at once to one order of units, by Frank-Wolfe over soft permutations of all layers.",
    limits="Needs no data. Takes as long as a Frank-Wolfe search per model, and ends in a local optimum.",
    settings=CycleConsistentSettings,
    recovers_twin=True,
    joint=True,
)
def cycle_consistent(problem: Problem, settings: CycleConsistentSettings) -> Alignment:
    """Find permutations into a common order of units that maximise the sum over all pairs of <P_a(W_a), P_b(W_b)>.

    The paper's universe (the common order) is determined only up to one permutation, so A is not permuted. After
    rounding, each model is matched to the mean of the others until no model gains.
    Notes of the alignment: `objective` and `objective_at_identity`, the sum above; `soft`, its value per step of the
    search, with soft permutations; `polished`, the gain after rounding.
    """
    import numpy as np

    from merging.methods.algorithms import frank_wolfe
    from merging.methods.algorithms.coordinate_descent import matchable, packed
    from merging.methods.algorithms.many_models import agreement_of, match_in_turns

    pairs = [packed(matchable(model, problem.spec), problem.spec) for model in problem.models]
    nets, spec = [net for net, _ in pairs], pairs[0][1]
    like = next(iter(nets[0].values()))

    def tell(step: int, value: float) -> None:
        problem.report("matching", step / settings.steps, f"step {step + 1}: agreement {value:.4g}")

    at_start = frank_wolfe.hard(spec.identity(), like)
    start = frank_wolfe.barycentre(spec, like) if settings.start == "barycentre" else at_start
    soft = frank_wolfe.maximise_frank_wolfe(nets, spec, start, settings.steps, tell)
    rng = np.random.default_rng(problem.seed)
    end = match_in_turns(nets, spec, soft.permutations, rng, settings.steps, lambda number, gain: None)
    notes = {
        "objective": agreement_of(nets, spec, end.permutations),
        "objective_at_identity": agreement_of(nets, spec, [spec.identity() for _ in nets]),
        "soft": list(soft.objectives),
        "polished": sum(end.gains),
    }
    return Alignment(end.permutations, notes)
