"""OT Fusion: transport B's units to similar units of A, layer by layer; widths may differ."""

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
    """Settings: ground cost between units, entropic regularisation, number of images."""

    ground: str = setting(
        "weights",
        label="Compare",
        choices=("weights", "activations"),
        help="Weights: the incoming weights, once the previous layers are matched. Activations: the responses to "
        "training images.",
    )
    regularisation: float = setting(
        0.0,
        label="Regularisation",
        low=0.0,
        high=100.0,
        help=(
            "Strength of the entropy term, relative to the mean cost. 0 gives the exact transport plan, a larger value "
            "a softer plan."
        ),
    )
    images: int = setting(
        2000,
        label="Training images",
        low=4,
        high=100_000,
        help="Number of training images whose activations are compared.",
    )


@method(
    "align",
    "optimal-transport",
    label="Optimal transport",
    paper="Singh, Jaggi: Model Fusion via Optimal Transport (NeurIPS 2020)",
    link="https://arxiv.org/abs/1910.05653",
    summary="Transports B's units to A's at the lowest cost, layer by layer; B may be wider or narrower than A.",
    limits=(
        "Greedy: each layer is matched using only the layers before it. With equal widths and no regularisation, the "
        "result is a permutation; otherwise the mapped B computes a slightly different function. Needs training images "
        "only to compare activations. Networks of different widths are refused if they have units that can only be "
        "permuted (attention heads, depthwise convolutions)."
    ),
    settings=OptimalTransportSettings,
    permutes=False,
    unequal_widths=True,
)
def optimal_transport(problem: Problem, settings: OptimalTransportSettings) -> Alignment:
    """Find, per group in network order, the lowest-cost transport plan T from B's units to A's, all of equal mass.

    T has shape (units of A, units of B). Mapped unit i, which is averaged with A's unit i, is the mean of B's units,
    weighted by row i of T scaled to sum to 1. Weights that read unit j of B then read the mean of the mapped units,
    weighted by column j of T scaled to sum to 1. For equal
    widths, this is the published scaling by the marginals. For unequal widths, the published scaling multiplies a
    layer's input by the ratio of the widths, whereas this one preserves the input.
    Notes of the alignment: `cost` by group, relative to the mean cost; `by_weights`, groups that can only be
    permuted and are therefore matched by their weights; `images` (0 if weights are compared); `stable` by group, if
    activations are compared.
    """
    from merging.methods.algorithms.coordinate_descent import match_rest
    from merging.methods.algorithms.transport import entropic_plan, exact_plan
    from merging.methods.algorithms.unit_maps import from_permutation, one_to_one

    activations = settings.ground == "activations"
    costs, stable, images = _activation_costs(problem, settings) if activations else ({}, {}, 0)
    spec_b, identity = problem.structure(1)[1], problem.spec.identity()
    maps: dict[str, UnitMap] = {}
    relative: dict[str, float] = {}
    for number, (group, group_b) in enumerate(zip(problem.spec.groups, spec_b.groups, strict=True)):
        if not group.linear:
            continue
        cost = costs.get(group.name)
        if cost is None:
            cost = _weight_cost(problem, (group, group_b), maps)
        plan = entropic_plan(cost, settings.regularisation) if settings.regularisation else exact_plan(cost)
        maps[group.name] = UnitMap(plan * group.size, plan.T * group_b.size)
        relative[group.name] = float((plan * cost).sum() / cost.mean().clamp_min(1e-300))
        problem.report("matching", (number + 1) / len(spec_b.groups), group.name)
    rest = [group.name for group in problem.spec.groups if not group.linear]
    if rest and problem.structures:
        raise IncompatibleModels(
            f"The units of {rest[0]} can only be permuted, so both networks need the same number of them."
        )
    nearest = identity | {name: one_to_one(map.make) for name, map in maps.items()}
    permutation = nearest | match_rest(problem, rest, nearest)
    notes = {"cost": relative, "by_weights": rest, "images": images, "stable": stable}
    hard = not settings.regularisation and not problem.structures
    still = {name: from_permutation(identity[name]) for name in maps}
    return Alignment((identity, permutation), notes, () if hard else (still, maps))


def _weight_cost(problem: Problem, groups: tuple[Group, Group], maps: dict[str, UnitMap]) -> Tensor:
    """Return squared distances (units of A, units of B) between incoming weights.

    Compares only tensors whose other axes belong to matched groups, after mapping those axes of B's tensors into A's
    units.
    """
    import torch

    from merging.methods.algorithms.coordinate_descent import rows_per_unit
    from merging.network.permutation import named_tensors

    rows: list[list[Tensor]] = [[], []]
    for number, group in enumerate(groups):
        spec = problem.structure(number)[1]
        parameters = {name for name, _ in problem.models[number].named_parameters()}
        tensors = named_tensors(problem.models[number])
        for axis in group.axes:
            others = [(at, other) for at, other in spec.by_parameter[axis.parameter] if at.dim != axis.dim]
            unmatched = any(other.name not in maps for _, other in others)  # also where both axes are of this group
            if axis.parameter not in parameters or axis.used or unmatched:
                continue
            tensor = tensors[axis.parameter].double()
            if number == 1:
                tensor = _into_a(tensor, others, maps)
            rows[number].append(rows_per_unit(tensor, axis, group.size))
    if not rows[0]:
        return torch.zeros(groups[0].size, groups[1].size, dtype=torch.float64)
    return torch.cdist(torch.cat(rows[0], 1).cpu(), torch.cat(rows[1], 1).cpu()).square()


def _into_a(tensor: Tensor, others: list[tuple[Axis, Group]], maps: dict[str, UnitMap]) -> Tensor:
    """Return B's tensor with its units of the `others` groups mapped into A's units by `maps`."""
    from merging.methods.algorithms.unit_maps import mix

    for axis, group in sorted(others, key=lambda pair: -pair[0].offset):
        matrix = maps[group.name].use.T if axis.used else maps[group.name].make
        tensor = mix(tensor, axis, group.size, matrix.to(tensor))
    return tensor


def _activation_costs(
    problem: Problem, settings: OptimalTransportSettings
) -> tuple[dict[str, Tensor], dict[str, float], int]:
    """Return the activation cost per group, its stability per group, and the number of images.

    The cost is the mean squared difference (units of A, units of B) of the responses to training images. Stability is
    the share of A's units whose nearest unit of B is the same on both halves of the images.
    """
    from merging.methods.algorithms.activation_statistics import stability
    from merging.methods.algorithms.joint_moments import halves
    from merging.network.data import training_sample

    data = training_sample(problem.data, settings.images, problem.seed)
    moments = halves(problem, data, "after")
    both = {name: pair for name, pair in moments.items() if all(half.rows for half in pair)}
    stable = {name: stability(-one.distances(), -two.distances()) for name, (one, two) in both.items()}
    return {name: (one + two).distances() for name, (one, two) in moments.items()}, stable, data.count
