"""Frank-Wolfe: match all groups at once over soft permutations, avoiding the local optima of one-by-one matching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.methods.problem import Alignment
from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from merging.methods.problem import Problem


@dataclass(frozen=True)
class FrankWolfeSettings:
    """Settings: starts of the search and bound on its steps."""

    start: str = setting(
        "both",
        label="Start",
        choices=("both", "barycentre", "identity"),
        help="From the mean of all permutations (the barycentre), the identity, or both; the better result is kept.",
    )
    steps: int = setting(100, label="Maximum steps", low=1, high=10_000, help="The search stops after this many steps.")


@method(
    "align",
    "frank-wolfe",
    label="Frank-Wolfe",
    paper="Crisostomi et al.: C2M3: Cycle-Consistent Multi-Model Merging (NeurIPS 2024), for two models",
    link="https://arxiv.org/abs/2405.17897",
    summary="Optimises soft permutations of all layers together, rounds them, and refines them by weight matching.",
    limits="Needs no data. Takes ten to a hundred times as long as weight matching. Worthwhile if the match of one "
    "layer depends on that of many others, as in residual networks.",
    settings=FrankWolfeSettings,
    recovers_twin=True,
)
def frank_wolfe(problem: Problem, settings: FrankWolfeSettings) -> Alignment:
    """Permute B's units to maximise sum <W_A, pi(W_B)>, by Frank-Wolfe, rounding and coordinate descent.

    Notes of the alignment: `objective`, `objective_at_identity`; `objectives` by start; `soft`, the soft objective per
    step of the better `start`; `polished`, the gain of coordinate descent after rounding.
    """
    import numpy as np

    from merging.methods.algorithms import frank_wolfe
    from merging.methods.algorithms.coordinate_descent import coordinate_descent, matchable, objective, packed

    (a, spec), (b, _) = (packed(matchable(model, problem.spec), problem.spec) for model in problem.models)
    like = next(iter(a.values()))
    starts = {"barycentre": frank_wolfe.barycentre(spec, like), "identity": frank_wolfe.hard(spec.identity(), like)}
    starts = starts if settings.start == "both" else {settings.start: starts[settings.start]}
    ends = {}
    for number, (name, start) in enumerate(starts.items()):

        def tell(step: int, value: float, number: int = number, name: str = name) -> None:
            fraction = (number + step / settings.steps) / len(starts)
            problem.report("matching", fraction, f"step {step + 1} from the {name}: {value:.4g}")

        soft = frank_wolfe.maximise_frank_wolfe((a, b), spec, start, settings.steps, tell)
        rng = np.random.default_rng(problem.seed)
        end = coordinate_descent(a, b, spec, soft.permutations[1], rng, 100, lambda sweep, gain: None)
        ends[name] = end, soft.objectives
    best = max(ends, key=lambda name: ends[name][0].objective)
    descent, objectives = ends[best]
    notes = {
        "objective": descent.objective,
        "objective_at_identity": objective(a, b),
        "objectives": {name: end.objective for name, (end, _) in ends.items()},
        "start": best,
        "soft": list(objectives),
        "polished": sum(descent.gains),
    }
    return Alignment((problem.spec.identity(), descent.permutation), notes)
