"""OT Fusion: spread every unit of B over the units of A that resemble it, layer by layer; widths may differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.errors import IncompatibleModels
from merging.methods.problem import Alignment, UnitMap
from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from merging.methods.problem import Problem
    from merging.network.permutation import Axis, Group


@dataclass(frozen=True)
class OptimalTransportSettings:
    """What units are compared by, and how sharply they are matched."""

    ground: str = setting(
        "weights",
        label="Compare",
        choices=("weights", "activations"),
        help="Units' incoming weights, once the layers before are matched; or their responses to training images.",
    )
    regularisation: float = setting(
        0.0,
        label="Regularisation",
        low=0.0,
        high=100.0,
        help="0 solves the transport exactly; more blurs it by an entropy, relative to the mean cost.",
    )
    images: int = setting(
        2000, label="Training images", low=4, high=100_000, help="How many are looked at, for activations."
    )


@method(
    "align",
    "optimal-transport",
    label="Optimal transport",
    paper="Singh, Jaggi: Model Fusion via Optimal Transport (NeurIPS 2020)",
    link="https://arxiv.org/abs/1910.05653",
    summary="Moves B's units onto A's at least cost, layer by layer from the input; B may be wider or narrower than A.",
    limits="Greedy: a layer is matched by what lies before it. With equal widths and no regularisation it is a "
    "permutation; else B mapped is no longer quite B. Needs training images to compare activations only. Where widths "
    "differ, units that only permute (heads, depthwise convolutions) are refused.",
    settings=OptimalTransportSettings,
    permutes=False,
    unequal_widths=True,
)
def optimal_transport(problem: Problem, settings: OptimalTransportSettings) -> Alignment:
    """For every group in network order the plan T of least cost between A's and B's units, of equal mass each.

    A unit of the merged net is made of B's as T's row says (rows sum to 1), and what used B's unit uses those that it
    went to (columns to 1). For equal widths that is the published scaling by the marginals; for others the published
    one changes a layer's input by the ratio of the widths, and this one keeps it.
    Notes: `cost` by group, relative to the mean cost; `by_weights`: groups that only permute; `images` (0 for weights);
    `stable` by group, for activations.
    """
    from merging.methods.algorithms.coordinate_descent import match_rest
    from merging.methods.algorithms.transport import entropic_plan, exact_plan
    from merging.methods.algorithms.unit_maps import from_permutation, one_to_one

    costs, stable = _activation_costs(problem, settings) if settings.ground == "activations" else ({}, {})
    spec_b, identity = problem.structure(1)[1], problem.spec.identity()
    maps: dict[str, UnitMap] = {}
    notes: dict[str, float] = {}
    for number, (group, group_b) in enumerate(zip(problem.spec.groups, spec_b.groups, strict=True)):
        if not group.linear:
            continue
        cost = costs.get(group.name)
        if cost is None:
            cost = _weight_cost(problem, (group, group_b), maps)
        plan = entropic_plan(cost, settings.regularisation) if settings.regularisation else exact_plan(cost)
        maps[group.name] = UnitMap(plan * group.size, plan.T * group_b.size)
        notes[group.name] = float((plan * cost).sum() / cost.mean().clamp_min(1e-300))
        problem.report("matching", (number + 1) / len(spec_b.groups), group.name)
    rest = [group.name for group in problem.spec.groups if not group.linear]
    if rest and problem.structures:
        raise IncompatibleModels(
            f"The units of {rest[0]} can only change places, so both networks need as many of them."
        )
    nearest = identity | {name: one_to_one(map.make) for name, map in maps.items()}
    permutation = nearest | match_rest(problem, rest, nearest)
    told = {"cost": notes, "by_weights": rest, "images": settings.images if costs else 0, "stable": stable}
    hard = not settings.regularisation and not problem.structures
    still = {name: from_permutation(identity[name]) for name in maps}
    return Alignment((identity, permutation), told, () if hard else (still, maps))


def _weight_cost(problem: Problem, groups: tuple[Group, Group], maps: dict[str, UnitMap]) -> Tensor:
    """Squared distances (units of A, units of B) of what makes the units, as far as the layers before are matched."""
    import torch

    from merging.methods.algorithms.coordinate_descent import unfold
    from merging.network.permutation import named_tensors

    rows: list[list[Tensor]] = [[], []]
    for number, group in enumerate(groups):
        spec = problem.structure(number)[1]
        parameters = {name for name, _ in problem.models[number].named_parameters()}
        tensors = named_tensors(problem.models[number])
        for axis in group.axes:
            others = [(at, other) for at, other in spec.by_parameter[axis.parameter] if other.name != group.name]
            open_ones = any(other.name not in maps for _, other in others)
            if axis.parameter not in parameters or axis.used or open_ones:
                continue
            tensor = tensors[axis.parameter].double()
            if number == 1:
                tensor = _into_a(tensor, others, maps)
            rows[number].append(unfold(tensor, axis, group.size))
    if not rows[0]:
        return torch.zeros(groups[0].size, groups[1].size, dtype=torch.float64)
    return torch.cdist(torch.cat(rows[0], 1).cpu(), torch.cat(rows[1], 1).cpu()).square()


def _into_a(tensor: Tensor, others: list[tuple[Axis, Group]], maps: dict[str, UnitMap]) -> Tensor:
    """B's tensor with the units that are matched already in A's place."""
    from merging.methods.algorithms.unit_maps import mix

    for axis, group in sorted(others, key=lambda pair: -pair[0].offset):
        matrix = maps[group.name].use.T if axis.used else maps[group.name].make
        tensor = mix(tensor, axis, group.size, matrix.to(tensor))
    return tensor


def _activation_costs(
    problem: Problem, settings: OptimalTransportSettings
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Group -> mean squared differences (units of A, units of B) of the responses to training images, and how stable
    they are: the share of A's units whose nearest unit of B is the same by each half of the images."""
    from merging.methods.algorithms.activation_statistics import stability
    from merging.methods.algorithms.joint_moments import halves
    from merging.network.data import training_sample

    seen = halves(problem, training_sample(problem.data, settings.images, problem.seed), "after")
    whole = {name: pair for name, pair in seen.items() if all(half.rows for half in pair)}
    stable = {name: stability(-one.distances(), -two.distances()) for name, (one, two) in whole.items()}
    return {name: (one + two).distances() for name, (one, two) in seen.items()}, stable
