"""Weight matching: permute B's units to maximise their agreement with A's weights (Ainsworth et al. 2023, Alg. 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from merging.methods.problem import Alignment
from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from merging.methods.problem import Problem
    from merging.network.permutation import Permutation, PermutationSpec
    from merging.progress import Progress


@dataclass(frozen=True)
class WeightMatchingSettings:
    """Settings: number and starts of coordinate descents, bound on their sweeps."""

    restarts: int = setting(
        5,
        label="Starts",
        low=1,
        high=200,
        help="The result depends on the order in which layers are visited; the best of this many starts is kept.",
    )
    start: str = setting(
        "identity",
        label="Later starts begin from",
        choices=("identity", "random"),
        help="The first search begins with B's units in their own order; later ones begin with the same order, or a "
        "random one.",
    )
    sweeps: int = setting(
        100, label="Maximum sweeps", low=1, high=10_000, help="Largest number of passes over all layers per start."
    )


@method(
    "align",
    "weight-matching",
    label="Weight matching",
    paper="Ainsworth, Hayase, Srinivasa: Git Re-Basin (ICLR 2023), Algorithm 1",
    link="https://arxiv.org/abs/2209.04836",
    summary="Visits one layer after another and matches B's units to A's so that the weights agree best.",
    limits="Needs no data. Stops in a local optimum that depends on the order of visits; weights alone do not show "
    "which units respond to the same images.",
    settings=WeightMatchingSettings,
    recovers_twin=True,
)
def weight_matching(problem: Problem, settings: WeightMatchingSettings) -> Alignment:
    """Permute B's units to maximise sum <W_A, pi(W_B)> over all permuted parameters; keep the best of several restarts.

    Notes of the alignment: `objective` reached, `objective_at_identity`; `objectives`, one per restart, and their
    `spread`; `best_restart`, counted from 1; `gains`, one per sweep of the best restart; `settled`, whether the best
    restart stopped before the bound on sweeps; `quadratic_groups`, groups on two axes of one tensor: their assignment
    maximises a linearisation of the objective, and is accepted only if the objective itself gains.
    """
    from merging.methods.algorithms.coordinate_descent import matchable, packed

    (a, spec), (b, _) = (packed(matchable(model, problem.spec), problem.spec) for model in problem.models)
    permutation, notes = best_descent(a, b, spec, settings, problem.seed, problem.report)
    return Alignment((problem.spec.identity(), permutation), notes)


def best_descent(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    spec: PermutationSpec,
    settings: WeightMatchingSettings,
    seed: int,
    report: Progress,
    *,
    keep: bool = True,
) -> tuple[Permutation, dict[str, Any]]:
    """Return the permutation of B's units from the best restart, and the notes of `weight_matching`.

    Args:
        a: A's tensors as from `coordinate_descent.packed`, name -> tensor of any shape.
        b: B's tensors, likewise.
        spec: the groups from `coordinate_descent.packed`.
        settings: restarts, their start and the bound on sweeps.
        seed: seed of the visiting orders and of random starts.
        report: progress callback.
        keep: as in `coordinate_descent`.
    """
    import numpy as np

    from merging.methods.algorithms.coordinate_descent import coordinate_descent, neighbours, objective

    runs = []
    for restart in range(settings.restarts):
        rng = np.random.default_rng([seed, restart])
        random = restart > 0 and settings.start == "random"
        start = spec.random(int(rng.integers(2**31))) if random else spec.identity()
        tell = _teller(report, restart, settings.restarts)
        runs.append(coordinate_descent(a, b, spec, start, rng, settings.sweeps, tell, keep=keep))
    best = max(range(len(runs)), key=lambda restart: runs[restart].objective)  # the first of equals
    objectives = [run.objective for run in runs]
    return runs[best].permutation, {
        "objective": objectives[best],
        "objective_at_identity": objective(a, b),
        "objectives": objectives,
        "spread": max(objectives) - min(objectives),
        "best_restart": best + 1,
        "gains": list(runs[best].gains),
        "settled": runs[best].settled,
        "quadratic_groups": [name for name, near in neighbours(spec).items() if name in near],
    }


def _teller(report: Progress, restart: int, restarts: int) -> Callable[[int, float], None]:
    def tell(sweep: int, gain: float) -> None:
        fraction = (restart + sweep / (sweep + 1)) / restarts  # the number of sweeps is not known in advance
        report("matching", fraction, f"sweep {sweep}, gain {gain:.3g} (restart {restart + 1} of {restarts})")

    return tell
