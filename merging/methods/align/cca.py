"""CCA Merge: map B's units linearly onto A's to maximise their correlation over the training images."""

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
TIE = (
    1e-6  # added to the correlation of A's unit i with B's unit i, so that units keep their places if correlations tie
)
HELD_OUT = 1000  # training images for the selection of gamma


@dataclass(frozen=True)
class CcaSettings:
    """Settings: regularisation of the covariances, where activations are measured, number of images."""

    gamma: float = setting(
        0.0,
        label="γ",
        low=0.0,
        high=1e6,
        help=(
            "Regularisation added to the covariances, relative to the mean variance. The result depends strongly on γ. "
            "0 chooses γ on held-out training images."
        ),
    )
    site: str = setting(
        "after",
        label="Measure activations",
        choices=("after", "before"),
        help="After the nonlinearity, or before it: at the norm or, if there is none, at the layer with weights.",
    )
    images: int = setting(
        2000, label="Training images", low=4, high=100_000, help="Number of training images to measure on."
    )


@method(
    "align",
    "cca",
    label="CCA",
    paper="Horoi et al.: Harmony in Diversity: Merging Neural Networks with Canonical Correlation Analysis (ICML 2024)",
    link="https://arxiv.org/abs/2407.05385",
    summary="Maps linear combinations of B's units onto A's units so that both vary together over the training images.",
    limits=(
        "Needs training images. Units can be mixed exactly only before a nonlinearity, so the mapped B computes a "
        "slightly different function. With BatchNorm, combine it with a BatchNorm reset. Units that can only be "
        "permuted (attention heads, depthwise convolutions) are matched by weights."
    ),
    settings=CcaSettings,
    needs_data=True,
    permutes=False,
)
def cca(problem: Problem, settings: CcaSettings) -> Alignment:
    """Multiply B's units of each group by T, and the weights that read them by the inverse of T.

    T = Syy^-1/2 V U^T Sxx^1/2 with Sxx^-1/2 Sxy Syy^-1/2 = U S V^T (Horoi et al., Section 4).
    Notes of the alignment: `gamma`; `tried`, pairs [gamma, held-out loss of the half-way net], if gamma was selected;
    `by_weights`, groups that can only be permuted; `images`, number of images measured; `stable`, share of units with
    the same partner on both halves of the images.
    """
    from merging.methods.algorithms.hyperparameters import choose_by_loss, held_out_split, middle
    from merging.methods.algorithms.joint_moments import halves
    from merging.methods.algorithms.unit_maps import mapped
    from merging.network.data import training_sample
    from merging.network.permutation import named_tensors

    learn = training_sample(problem.data, settings.images, problem.seed)
    if not settings.gamma:
        learn, held_out = held_out_split(learn, HELD_OUT, problem.seed)
    linear = {group.name for group in problem.spec.groups if group.linear}
    moments = {name: pair for name, pair in halves(problem, learn, settings.site).items() if name in linear}

    def at(gamma: float) -> Alignment:
        """Return the alignment for this gamma."""
        return _alignment(problem, {name: _map(one + two, gamma) for name, (one, two) in moments.items()})

    def halfway(gamma: float) -> nn.Module:
        """Return the mean of A and the mapped B for this gamma; its held-out loss ranks the gammas."""
        a, b = problem.models
        alignment = at(gamma)
        mapped_b = mapped(b, problem.spec, a, alignment.permutations[1], alignment.maps[1])
        return middle(problem, [named_tensors(a), named_tensors(mapped_b)])

    gamma, notes = settings.gamma, {}
    if not gamma:
        choice = choose_by_loss(GAMMAS, halfway, learn, held_out)
        gamma, notes = choice.value, {**choice.notes, "held_out": held_out.count}
    alignment = at(gamma)
    notes |= {
        "gamma": gamma,
        "images": learn.count,
        "stable": partner_stability(moments, lambda m: _map(m, gamma).make),
    }
    notes["by_weights"] = [group.name for group in problem.spec.groups if group.name not in moments]
    return Alignment(alignment.permutations, notes, alignment.maps)


def canonical_map(xx: Tensor, xy: Tensor, yy: Tensor, gamma: float) -> Tensor:
    """Return T, shape (units of y, units of x), such that y T is maximally correlated with x; rows are observations.

    Args:
        xx: (units of x, units of x) float64 covariance.
        xy: (units of x, units of y) float64 covariance.
        yy: (units of y, units of y) float64 covariance.
        gamma: regularisation added to the eigenvalues of xx and yy, relative to their mean.
    """
    import torch

    def root(matrix: Tensor, power: float) -> Tensor:
        """Return a power of a covariance (n, n) regularised by gamma."""
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


def partner_stability(
    seen: dict[str, tuple[JointMoments, JointMoments]], make: Callable[[JointMoments], Tensor]
) -> float:
    """Return the share of units whose one-to-one partner is the same on both halves of the images.

    Args:
        seen: group -> the moments of its units on each half of the images.
        make: returns the (units, units) matrix by which partners are assigned, from the moments of one half.
    """
    from merging.methods.algorithms.unit_maps import one_to_one

    same, units = 0, 0
    for one, two in seen.values():
        if min(one.rows, two.rows) > 0:
            first, second = (one_to_one(make(half)) for half in (one, two))
            same, units = same + int((first == second).sum()), units + len(first)
    return same / units if units else 1.0
