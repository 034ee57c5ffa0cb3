"""Activation matching: reorder B's units so that they respond as A's units do (Ainsworth et al. 2023, Sec. 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.methods.problem import Alignment
from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from merging.methods.algorithms.activation_statistics import Moments
    from merging.methods.problem import Problem

TIE = 1e-12  # relative to the largest similarity: bonus for staying, so that units with equal scores do not move


@dataclass(frozen=True)
class ActivationMatchingSettings:
    """Settings: similarity measure, where activations are measured, number of images."""

    similarity: str = setting(
        "pearson",
        label="Similarity",
        choices=("pearson", "product", "distance"),
        help="What is maximised: the correlation, the mean product E[ab], or minus the Euclidean distance.",
    )
    site: str = setting(
        "after",
        label="Measure activations",
        choices=("after", "before"),
        help="After the nonlinearity, or before it: at the norm or, if there is none, at the layer with weights.",
    )
    images: int = setting(
        2000, label="Training images", low=2, high=100_000, help="Number of training images to measure on."
    )


@method(
    "align",
    "activation-matching",
    label="Activation matching",
    paper="Ainsworth, Hayase, Srinivasa: Git Re-Basin (ICLR 2023), Section 3.1; Li et al.: Convergent Learning (2016)",
    link="https://arxiv.org/abs/2209.04836",
    summary="Matches B's units to the units of A that respond most like them to the training images.",
    limits=(
        "Needs training images. Units with a constant response correlate with no unit and fill the places that are "
        "left, their own if possible. A residual stream is compared at several layers, and the similarities are added. "
        "Attention heads and groups of convolutions are matched by weights."
    ),
    settings=ActivationMatchingSettings,
    needs_data=True,
)
def activation_matching(problem: Problem, settings: ActivationMatchingSettings) -> Alignment:
    """Assign B's units to A's, per group, to maximise the similarity summed over the group's sites.

    Notes of the alignment, by group unless stated:
        sites: layers whose activations were compared.
        mean_similarity: mean similarity of the matched units, averaged over the sites.
        dead: number of units of A and of B that are constant at all sites.
        stable: share of A's units whose most similar unit of B is the same on both halves of the images.
        by_weights: names of the groups without a site, which are matched by weights instead.
        images: number of images read.
    """
    import torch

    from merging.methods.algorithms.activation_statistics import sites_by_group, stability, unit_moments
    from merging.methods.algorithms.coordinate_descent import assign, match_rest
    from merging.network.data import training_sample

    data = training_sample(problem.data, settings.images, problem.seed)
    sites = sites_by_group(problem.graph, problem.spec, settings.site)
    parts = [unit_moments(problem, sites, half) for half in data.halves() if half.count]
    permutation = problem.spec.identity()
    means, dead, stable = {}, {}, {}
    for group in parts[0]:
        whole = [sum(own[1:], own[0]) for own in zip(*(part[group] for part in parts), strict=True)]
        scores, *halves = (_scores(own, settings.similarity) for own in (whole, *(part[group] for part in parts)))
        stay = TIE * float(scores.abs().max())
        scores.diagonal().add_(stay)
        permutation[group] = assign(scores)
        scores.diagonal().sub_(stay)
        matched = scores[range(len(scores)), permutation[group]]
        means[group] = float(matched.mean()) / len(whole)
        dead[group] = [int(torch.stack([m.constant(net) for m in whole]).all(0).sum()) for net in ("a", "b")]
        stable[group] = stability(halves[0], halves[-1])
    hidden = [group.name for group in problem.spec.groups if group.name not in parts[0]]
    if hidden:
        permutation |= match_rest(problem, hidden, permutation)
    layers = {group: [site.layer for site in own] for group, own in sites.items()}
    notes = {"similarity": settings.similarity, "site": settings.site, "images": data.count}
    notes |= {"by_weights": hidden, "sites": layers, "mean_similarity": means, "dead": dead, "stable": stable}
    return Alignment((problem.spec.identity(), permutation), notes)


def _scores(moments: list[Moments], similarity: str) -> Tensor:
    """Return the (n, n) similarity of A's units (rows) and B's (columns), summed over a group's sites."""
    first, *others = moments
    total = first.similarity(similarity)
    for one in others:
        total += one.similarity(similarity)
    return total
