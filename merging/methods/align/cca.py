"""CCA Merge: map B's units linearly onto A's so that both vary alike over the training images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.methods.problem import Alignment, UnitMap
from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from merging.methods.algorithms.joint_moments import JointMoments
    from merging.methods.problem import Problem

GAMMAS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
TIE = 1e-6  # correlation: mixtures that nothing tells apart, such as those of dead units, stay where they are
HELD_OUT = 1000  # training images that gamma is chosen on


@dataclass(frozen=True)
class CcaSettings:
    """How strongly small variations are damped, and what the units are compared on."""

    gamma: float = setting(
        0.0,
        label="γ",
        low=0.0,
        high=1e6,
        help="Added to the covariances, relative to the mean variance. It decides everything: 0 chooses it on held-out "
        "training images.",
    )
    site: str = setting(
        "after",
        label="Look",
        choices=("after", "before"),
        help="After the nonlinearity, or before it: at the norm, or else the convolution or linear layer.",
    )
    images: int = setting(2000, label="Training images", low=4, high=100_000, help="How many are looked at.")


@method(
    "align",
    "cca",
    label="CCA",
    paper="Horoi et al.: Harmony in Diversity: Merging Neural Networks with Canonical Correlation Analysis (ICML 2024)",
    link="https://arxiv.org/abs/2407.05385",
    summary="Maps mixtures of B's units onto A's units so that they vary together over the training images.",
    limits="Needs training images. Mixing units is exact before a nonlinearity only, so B mapped is no longer quite B. "
    "Follow it with a BatchNorm reset where there is BatchNorm. Units that only permute (heads, depthwise "
    "convolutions) are matched by weights.",
    settings=CcaSettings,
    needs_data=True,
    permutes=False,
)
def cca(problem: Problem, settings: CcaSettings) -> Alignment:
    """For every group T = Syy^-1/2 V U^T Sxx^1/2 with Sxx^-1/2 Sxy Syy^-1/2 = U S V^T (Horoi et al., Section 4), on
    B's outputs, and its inverse on what uses them.

    Notes: `gamma`; `tried`: [gamma, held-out loss of the half-way net], where it was chosen; `by_weights`: groups that
    only permute; `images`; `stable`: the share of units that get the same partner from each half of the images.
    """
    from merging.methods.algorithms.hyperparameters import choose, held_out_split, middle
    from merging.methods.algorithms.joint_moments import halves
    from merging.methods.algorithms.unit_maps import mapped
    from merging.network.data import training_sample
    from merging.network.permutation import named_tensors

    learn = training_sample(problem.data, settings.images, problem.seed)
    if not settings.gamma:
        learn, held_out = held_out_split(learn, HELD_OUT, problem.seed)
    linear = {group.name for group in problem.spec.groups if group.linear}
    seen = {name: pair for name, pair in halves(problem, learn, settings.site).items() if name in linear}

    def at(gamma: float) -> Alignment:
        """The alignment that gamma gives."""
        return _alignment(problem, {name: _map(one + two, gamma) for name, (one, two) in seen.items()})

    def halfway(gamma: float) -> nn.Module:
        """The mean of A and B mapped, as gamma gives it: to judge gamma by."""
        a, b = problem.models
        found = at(gamma)
        moved = mapped(b, problem.spec, a, found.permutations[1], found.maps[1])
        return middle(problem, [named_tensors(a), named_tensors(moved)])

    gamma, notes = settings.gamma, {}
    if not gamma:
        choice = choose(GAMMAS, halfway, learn, held_out)
        gamma, notes = choice.value, {**choice.notes, "held_out": held_out.count}
    found = at(gamma)
    notes |= {"gamma": gamma, "images": learn.count, "stable": stability(seen, lambda m: _map(m, gamma).make)}
    notes["by_weights"] = [group.name for group in problem.spec.groups if group.name not in seen]
    return Alignment(found.permutations, notes, found.maps)


def canonical_map(xx: Tensor, xy: Tensor, yy: Tensor, gamma: float) -> Tensor:
    """T (units of y, units of x) for features in rows: y T varies as x does.

    xx, xy, yy: covariances of shapes (x, x), (x, y), (y, y), float64.  gamma: added to both
    diagonals, relative to their mean variance.
    """
    import torch

    def root(matrix: Tensor, power: float) -> Tensor:
        """The power of a covariance (n, n), damped by gamma."""
        values, vectors = torch.linalg.eigh(matrix)
        damped = values.clamp_min(0) + gamma * float(values.clamp_min(0).mean()) + torch.finfo(values.dtype).tiny
        return vectors * damped.pow(power) @ vectors.T

    whiten = root(yy, -0.5)
    correlations = root(xx, -0.5) @ xy @ whiten
    u, _, vh = torch.linalg.svd(correlations + TIE * torch.eye(len(xx), dtype=xx.dtype))
    return whiten @ vh.T @ u.T @ root(xx, 0.5)


def _map(moments: JointMoments, gamma: float) -> UnitMap:
    import torch

    size, covariance = moments.sizes[0], moments.covariance()
    turn = canonical_map(covariance[:size, :size], covariance[:size, size:], covariance[size:, size:], gamma)
    return UnitMap(turn.T, torch.linalg.inv(turn.T))


def _alignment(problem: Problem, maps: dict[str, UnitMap]) -> Alignment:
    from merging.methods.algorithms.coordinate_descent import match_rest
    from merging.methods.algorithms.unit_maps import from_permutation, one_to_one

    identity = problem.spec.identity()
    nearest = identity | {name: one_to_one(map.make) for name, map in maps.items()}
    rest = [group.name for group in problem.spec.groups if group.name not in maps]
    permutation = nearest | match_rest(problem, rest, nearest)
    still = {name: from_permutation(identity[name]) for name in maps}
    return Alignment((identity, permutation), {}, (still, maps))


def stability(seen: dict[str, tuple[JointMoments, JointMoments]], make: Callable[[JointMoments], Tensor]) -> float:
    """The share of all units that get one partner from each half, by the matrix (units, units) that `make` gives."""
    from merging.methods.algorithms.unit_maps import one_to_one

    same, units = 0, 0
    for one, two in seen.values():
        if min(one.rows, two.rows) > 0:
            first, second = (one_to_one(make(half)) for half in (one, two))
            same, units = same + int((first == second).sum()), units + len(first)
    return same / units if units else 1.0
