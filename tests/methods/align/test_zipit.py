"""ZipIt!: the fast greedy step against the published loop, the algebra of its maps, two models and three."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from merging.methods.algorithms.greedy_zip import zip_units
from merging.methods.algorithms.joint_moments import JointMoments
from merging.methods.align.zipit import ZipItSettings, zipit
from merging.pipeline.merge import merge
from tests.nets.pairs import accuracy, blobs, problem, trained

RNG = torch.Generator().manual_seed(0)


def features(rows: int, units: int) -> torch.Tensor:
    """Correlated features in float64."""
    mixed = torch.randn(units, units, generator=RNG, dtype=torch.float64)
    return torch.randn(rows, units, generator=RNG, dtype=torch.float64) @ mixed


def slow_zip(correlation: np.ndarray, sizes: tuple[int, ...], alpha: float, beta: float) -> list[set[int]]:
    """The published loop, written for clarity: the whole matrix is searched at every merge."""
    scores = correlation.copy()
    np.fill_diagonal(scores, -np.inf)
    clusters = [{unit} for unit in range(len(scores))]
    models = list(np.repeat(np.arange(len(sizes)), sizes))
    removals = len(scores) - sizes[0]
    budget = [int(removals // len(sizes) * beta + 1e-4)] * len(sizes)

    def forbid(model: int) -> None:
        own = [index for index, of in enumerate(models) if of == model]
        scores[np.ix_(own, own)] = -np.inf

    for model in range(len(sizes)):
        if budget[model] == 0:
            forbid(model)
    for _ in range(removals):
        first, second = sorted(np.unravel_index(scores.argmax(), scores.shape))
        clusters[first] |= clusters.pop(second)
        merged = np.minimum(scores[first], scores[second]) * alpha
        scores[first], scores[:, first] = merged, merged
        scores[first, first] = -np.inf
        scores = np.delete(np.delete(scores, second, 0), second, 1)
        alike, model = models[first] == models[second], models[first]
        del models[second]
        if alike:
            budget[model] -= 1
            if budget[model] == 0:
                forbid(model)
    return sorted(clusters, key=min)


ZIPS = [
    ((20, 20), 1.0, 1.0),
    ((20, 20), 0.3, 0.125),
    ((20, 20), 0.1, 0.0),
    ((9, 9, 9), 1.0, 1.0),
    ((9, 9, 9), 0.7, 0.5),
]


@pytest.mark.parametrize(("sizes", "alpha", "beta"), ZIPS)
def test_the_fast_greedy_step_is_the_published_loop(sizes: tuple[int, ...], alpha: float, beta: float) -> None:
    x = features(200, sum(sizes)).numpy()
    correlation = np.corrcoef(x.T)
    joins = zip_units(torch.from_numpy(correlation), sizes, alpha, beta)
    clusters = [set(np.flatnonzero(joins.numpy() == number)) for number in range(sizes[0])]
    assert sorted(clusters, key=min) == slow_zip(correlation, sizes, alpha, beta)


@pytest.mark.parametrize("alpha", [0.01, 0.3, 1.0])
def test_three_models_without_a_budget_always_reach_their_number_of_units(alpha: float) -> None:
    """One of B with one of C may leave no partner among those of A that holds neither: then units of one model join."""
    for _ in range(5):
        joins = zip_units(torch.from_numpy(np.corrcoef(features(60, 27).numpy().T)), (9, 9, 9), alpha, 0.0)
        assert sorted(set(joins.tolist())) == list(range(9))


def test_of_a_permuted_copy_zipping_finds_the_pairs_that_an_assignment_finds() -> None:
    x = features(300, 15)
    order = torch.randperm(15, generator=RNG)
    moments = JointMoments((15, 15))
    moments.add([x, x[:, order]])
    joins = zip_units(moments.correlation(), (15, 15), 0.3, 0.125)
    _, columns = linear_sum_assignment(-moments.correlation()[:15, 15:])
    assert joins[15:][columns].tolist() == joins[:15].tolist() == list(range(15))


def test_a_zipped_merge_is_the_mean_over_clusters_read_by_all_who_used_them() -> None:
    """The algebra: M U = identity, and with one model's units merged, its consumers read their mean."""
    pair = (trained("mlp", 0), trained("mlp", 1))
    found = zipit(problem("mlp", pair), ZipItSettings(choose=False, alpha=1.0, beta=1.0))
    for group in found.maps[0]:
        together = sum(maps[group].make @ maps[group].use for maps in found.maps) / 2
        assert torch.allclose(together, torch.eye(len(together), dtype=torch.float64))
        assert torch.allclose(
            sum(maps[group].make.sum(1) for maps in found.maps) / 2, torch.ones(len(together), dtype=torch.float64)
        )
    assert found.notes["within"] > 0


def test_without_a_budget_no_units_of_one_model_are_joined() -> None:
    pair = (trained("mlp", 0), trained("mlp", 1))
    found = zipit(problem("mlp", pair), ZipItSettings(choose=False, alpha=0.01, beta=0.0))
    assert found.notes["within"] == 0


def test_three_models_are_zipped_together() -> None:
    nets = [trained("mlp", seed) for seed in range(3)]
    merged = merge(nets, align="zipit", data=blobs(300)).merged
    assert (
        accuracy(merged, blobs(500, seed=3))
        > accuracy(merge(nets, align="none", data=blobs(300)).merged, blobs(500, seed=3)) - 0.02
    )
