"""ZipIt!: merge the most correlated units, within and across models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from merging.methods.problem import Alignment, UnitMap
from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from merging.methods.algorithms.joint_moments import JointMoments
    from merging.methods.problem import Problem

CHOICES = ((0.1, 0.0), (0.1, 0.125), (0.3, 0.125), (1.0, 0.125), (1.0, 1.0))
HELD_OUT = 1000  # training images for the selection of alpha and beta


@dataclass(frozen=True)
class ZipItSettings:
    """Settings: selection or values of alpha and beta, number of images."""

    choose: bool = setting(
        True,
        label="Choose α and β",
        help="Tries five pairs of α and β and keeps the best one on held-out training images.",
    )
    alpha: float = setting(
        0.3,
        label="α",
        low=0.01,
        high=1.0,
        step=0.1,
        help="Below 1, a unit that is already merged is less likely to be merged again.",
    )
    beta: float = setting(
        0.125,
        label="β",
        low=0.0,
        high=1.0,
        step=0.125,
        help="At most this share of all merges may join two units of the same model.",
    )
    images: int = setting(
        2000, label="Training images", low=4, high=100_000, help="Number of training images to measure on."
    )


@method(
    "align",
    "zipit",
    label="ZipIt!",
    paper="Stoica et al.: ZipIt! Merging Models from Different Tasks without Training (ICLR 2024)",
    link="https://arxiv.org/abs/2305.03053",
    summary="Merges the most correlated units, within and across models, until as many units are left as A has.",
    limits="Needs training images. Only the merge with equal weights is a working network; a single mapped model "
    "is not. Units that can only be permuted (attention heads, depthwise convolutions) are matched by weights.",
    settings=ZipItSettings,
    needs_data=True,
    permutes=False,
    joint=True,
)
def zipit(problem: Problem, settings: ZipItSettings) -> Alignment:
    """Cluster all models' units per group with `greedy_zip.zip_units`; a merged unit is the mean of its cluster.

    Weights that read a unit then read the mean of its cluster (Stoica et al., Sections 3-4).
    Notes of the alignment: `alpha`, `beta`; if they were selected, `tried`, pairs [[alpha, beta], held-out loss], and
    the number of `held_out` images; `within`, share of merged units that consist of units of one model only;
    `by_weights`, groups that can only be permuted; `images`, number of images measured; `stable`, share of units whose
    cluster has the same first unit on both halves of the images.
    """
    from merging.methods.algorithms.hyperparameters import choose_by_loss, held_out_split, middle
    from merging.methods.algorithms.joint_moments import halves
    from merging.methods.algorithms.unit_maps import mapped
    from merging.network.data import training_sample
    from merging.network.permutation import named_tensors

    learn = training_sample(problem.data, settings.images, problem.seed)
    if settings.choose:
        learn, held_out = held_out_split(learn, HELD_OUT, problem.seed)
    linear = {group.name for group in problem.spec.groups if group.linear}
    moments = {name: pair for name, pair in halves(problem, learn, "after").items() if name in linear}
    correlations = {name: (one + two).correlation() for name, (one, two) in moments.items()}

    def at(alpha: float, beta: float) -> Alignment:
        """Return the alignment for alpha and beta."""
        return _alignment(
            problem, {name: _zip(c, moments[name][0].sizes, alpha, beta) for name, c in correlations.items()}
        )

    def build(pair: tuple[float, float]) -> nn.Module:
        """Return the zipped network for (alpha, beta); its held-out loss ranks the pairs."""
        alignment = at(*pair)
        models = zip(problem.models, alignment.permutations, alignment.maps, strict=True)
        nets = [mapped(model, problem.spec, problem.models[0], p, maps) for model, p, maps in models]
        return middle(problem, [named_tensors(model) for model in nets])

    pair, notes = (settings.alpha, settings.beta), dict[str, Any]()
    if settings.choose:
        choice = choose_by_loss(CHOICES, build, learn, held_out)
        pair = choice.value
        notes = {"tried": [[list(each), loss] for each, loss in choice.tried], "held_out": held_out.count}
    alignment = at(*pair)
    notes |= {"alpha": pair[0], "beta": pair[1], "within": _within(alignment), "images": learn.count}
    notes |= {"stable": _stable(moments, *pair)}
    notes["by_weights"] = [group.name for group in problem.spec.groups if group.name not in moments]
    return Alignment(alignment.permutations, notes, alignment.maps)


def _zip(correlation: Tensor, sizes: tuple[int, ...], alpha: float, beta: float) -> list[UnitMap]:
    """Return one map per model from the clusters.

    `make` averages each cluster and multiplies by the number of models; `use` replaces each unit by its cluster.
    """
    import torch

    from merging.methods.algorithms.greedy_zip import zip_units

    joins = zip_units(correlation, sizes, alpha, beta)
    member = torch.eye(sizes[0], dtype=torch.float64)[joins]
    mean = member / member.sum(0)
    parts = zip(mean.split(sizes), member.split(sizes), strict=True)
    return [UnitMap(len(sizes) * average.T, reading) for average, reading in parts]


def _alignment(problem: Problem, by_group: dict[str, list[UnitMap]]) -> Alignment:
    """Return an alignment with the maps, group -> one per model, and with all other groups matched by weights."""
    from merging.methods.algorithms.coordinate_descent import match_rest
    from merging.methods.algorithms.unit_maps import one_to_one

    identity = problem.spec.identity()
    rest = [group.name for group in problem.spec.groups if group.name not in by_group]
    permutations = [identity]
    for number in range(1, len(problem.models)):
        nearest = identity | {name: one_to_one(maps[number].make) for name, maps in by_group.items()}
        permutations.append(nearest | match_rest(problem.pair(number), rest, nearest))
    maps = tuple({name: each[number] for name, each in by_group.items()} for number in range(len(problem.models)))
    return Alignment(tuple(permutations), {}, maps)


def _within(alignment: Alignment) -> float:
    """Return the share of merged units that consist of units of one model only."""
    import torch

    alone = total = 0
    for name in alignment.maps[0]:
        holds = torch.stack([(maps[name].make != 0).any(1) for maps in alignment.maps]).sum(0)
        alone, total = alone + int((holds == 1).sum()), total + len(holds)
    return alone / total if total else 0.0


def _stable(moments: dict[str, tuple[JointMoments, JointMoments]], alpha: float, beta: float) -> float:
    """Return the share of units whose cluster has the same first unit on both halves of the images."""
    import torch

    from merging.methods.algorithms.greedy_zip import zip_units

    same = units = 0
    for one, two in moments.values():
        if min(one.rows, two.rows) == 0:
            continue
        firsts = []
        for half in (one, two):
            joins = zip_units(half.correlation(), half.sizes, alpha, beta)
            order = torch.arange(len(joins))
            firsts.append(torch.full_like(order, len(joins)).scatter_reduce(0, joins, order, "amin")[joins])
        same, units = same + int((firsts[0] == firsts[1]).sum()), units + len(firsts[0])
    return same / units if units else 1.0
