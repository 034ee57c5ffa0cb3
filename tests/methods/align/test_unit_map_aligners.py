"""CCA, optimal transport and ZipIt!: the laws of their maps, published facts, and what they make of trained nets."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from merging.errors import DataUnavailable, IncompatibleModels
from merging.methods.algorithms.joint_moments import JointMoments
from merging.methods.algorithms.transport import entropic_plan, exact_plan
from merging.methods.align.cca import CcaSettings, canonical_map, cca
from merging.methods.align.optimal_transport import OptimalTransportSettings, optimal_transport
from merging.network.batch_norm import reset_batch_norm
from merging.network.data import Batches
from merging.pipeline.merge import merge, output_difference, prepare
from tests.nets.nets import NETS
from tests.nets.pairs import accuracy, blobs, make, problem, same, tensors_of, trained, twin

RNG = torch.Generator().manual_seed(0)


def features(rows: int, units: int) -> torch.Tensor:
    """Correlated features in float64."""
    mixed = torch.randn(units, units, generator=RNG, dtype=torch.float64)
    return torch.randn(rows, units, generator=RNG, dtype=torch.float64) @ mixed


def covariances(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
    moments = JointMoments((x.shape[1], y.shape[1]))
    moments.add([x, y])
    whole, size = moments.covariance(), x.shape[1]
    return whole[:size, :size], whole[:size, size:], whole[size:, size:]


def test_of_a_permuted_copy_the_canonical_map_is_that_permutation() -> None:
    x = features(500, 12)
    order = torch.randperm(12, generator=RNG)
    turn = canonical_map(*covariances(x, x[:, order]), gamma=1e-9)
    expected = torch.eye(12, dtype=torch.float64)[order]
    assert (turn - expected).abs().max() < 4e-5
    assert torch.allclose(turn @ torch.linalg.inv(turn), torch.eye(12, dtype=torch.float64), atol=1e-10)


def test_of_mixed_features_the_canonical_map_undoes_the_mixing() -> None:
    x = features(500, 8)
    mixing = torch.randn(8, 8, generator=RNG, dtype=torch.float64)
    y = x @ mixing
    turn = canonical_map(*covariances(x, y), gamma=1e-12)
    assert torch.allclose(y @ turn, x, atol=1e-4 * float(x.abs().max()))


def test_moments_are_numpys_and_add_up() -> None:
    x, y = features(60, 4), features(60, 3)
    whole, parts = JointMoments((4, 3)), [JointMoments((4, 3)), JointMoments((4, 3))]
    whole.add([x, y])
    for part, rows in zip(parts, (slice(0, 20), slice(20, 60)), strict=True):
        part.add([x[rows], y[rows]])
    both = np.cov(np.hstack([x, y]).T, bias=True)
    assert np.allclose(whole.covariance(), both)
    assert np.allclose((parts[0] + parts[1]).covariance(), both)
    assert np.allclose(whole.correlation(), np.corrcoef(np.hstack([x, y]).T))
    assert np.allclose(whole.distances()[1, 2], ((x[:, 1] - y[:, 2]) ** 2).mean())


def test_units_that_never_vary_are_alike_and_like_nothing_else() -> None:
    x = features(50, 3)
    x[:, 1] = 7.0
    y = features(50, 2)
    y[:, 0] = 0.0
    moments = JointMoments((3, 2))
    moments.add([x, y])
    found = moments.correlation()
    assert found[1, 3] == 1
    assert found[1, [0, 2, 4]].abs().max() == 0


def test_gamma_decides_much_and_is_chosen_on_held_out_training_images() -> None:
    pair = (trained("mlp", 0), trained("mlp", 1))
    notes = cca(problem("mlp", pair), CcaSettings()).notes
    tried = dict(notes["tried"])
    assert tried[notes["gamma"]] == min(tried.values())
    assert max(tried.values()) > 2 * min(tried.values())
    assert notes["images"] == 150
    assert 0 <= notes["stable"] <= 1


@pytest.mark.parametrize("align", ["cca", "zipit", "optimal-transport"])
def test_trained_nets_merge_better_than_the_naive_average(align: str) -> None:
    pair, test = [trained("mlp", 0), trained("mlp", 1)], blobs(500, seed=3)
    merged = merge(pair, align=align, data=blobs(300)).merged
    naive = merge(pair, align="none", data=blobs(300)).merged
    assert accuracy(merged, test) > accuracy(naive, test)


@pytest.mark.parametrize("align", ["cca", "zipit", "optimal-transport"])
@pytest.mark.parametrize("name", ["grouped", "transformer", "concatenated", "depthwise"])
def test_unusual_nets_are_mapped_where_units_mix_and_permuted_where_they_do_not(name: str, align: str) -> None:
    net, example = NETS[name]()
    images = torch.randn(60, *example.shape[1:], generator=torch.Generator().manual_seed(1))
    data = Batches(images, torch.zeros(60, dtype=torch.int64), size=20)
    prepared = prepare([net, copy.deepcopy(net)], align=align, data=data)
    merged = prepared.combine((0.5, 0.5))
    assert output_difference(net, merged, images) < 1e-4
    linear = {group.name for group in prepared.problem.spec.groups if group.linear}
    assert all(set(maps) <= linear for maps in prepared.alignment.maps)
    assert set(prepared.alignment.permutations[1]) == {group.name for group in prepared.problem.spec.groups}


# Optimal transport


def test_an_exact_plan_costs_what_linear_programming_finds_whatever_the_widths() -> None:
    rng = np.random.default_rng(0)
    for n, m in ((4, 4), (6, 4), (3, 9), (5, 7)):
        costs = rng.random((n, m))
        plan = exact_plan(torch.from_numpy(costs))
        assert torch.allclose(plan.sum(1), torch.full((n,), 1 / n, dtype=torch.float64))
        assert torch.allclose(plan.sum(0), torch.full((m,), 1 / m, dtype=torch.float64))
        sums = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
        masses = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
        assert float((plan.numpy() * costs).sum()) == pytest.approx(linprog(costs.ravel(), A_eq=sums, b_eq=masses).fun)


def test_a_plan_of_many_parts_is_solved_as_a_linear_programme(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = torch.from_numpy(np.random.default_rng(1).random((6, 4)))
    by_assignment = exact_plan(costs)
    monkeypatch.setattr("merging.methods.algorithms.transport.LARGEST_ASSIGNMENT", 1)
    assert float((exact_plan(costs) * costs).sum()) == pytest.approx(float((by_assignment * costs).sum()))


def test_an_entropic_plan_keeps_the_masses_and_nears_the_exact_one() -> None:
    costs = torch.from_numpy(np.random.default_rng(2).random((5, 5)))
    exact = float((exact_plan(costs) * costs).sum())
    found = [float((entropic_plan(costs, r) * costs).sum()) for r in (1.0, 0.1, 0.01)]
    assert found[0] > found[1] > found[2] >= exact - 1e-9
    assert found[2] == pytest.approx(exact, rel=0.05)
    assert torch.allclose(entropic_plan(costs, 0.1).sum(1), torch.full((5,), 0.2, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("ground", ["weights", "activations"])
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_exact_transport_of_a_twin_is_its_permutation(kind: str, ground: str) -> None:
    net = trained(kind, 0)
    other, back = twin(kind, net, 3)
    found = optimal_transport(problem(kind, (net, other)), OptimalTransportSettings(ground=ground))
    assert found.maps == ()
    moved = prepare([net, other], align="optimal-transport", data=blobs(300), settings={"align": {"ground": ground}})
    assert moved.notes["equivalence"] < 1e-9
    if ground == "weights":
        assert all(torch.equal(found.permutations[1][group], p) for group, p in back.items())


def mlp(*widths: int) -> nn.Sequential:
    """The dense net of tests.nets.pairs with other widths."""
    net = make("mlp", 5)
    linear = [index for index, layer in enumerate(net) if isinstance(layer, nn.Linear)]
    for index, (first, second) in zip(linear, pairwise((64, *widths, 5)), strict=True):
        net[index] = nn.Linear(first, second)
    return net.eval()


def doubled(net: nn.Sequential) -> nn.Sequential:
    """The same function with every hidden unit there twice, each with half of what uses it."""
    wide = mlp(*(2 * layer.out_features for layer in net if isinstance(layer, nn.Linear) and layer is not net[-1]))
    with torch.no_grad():
        for narrow, twice in zip(net, wide, strict=True):
            if isinstance(narrow, nn.Linear):
                rows = 1 if narrow is net[-1] else 2
                columns = twice.in_features // narrow.in_features
                twice.weight.copy_(narrow.weight.repeat(rows, columns) / columns)
                twice.bias.copy_(narrow.bias.repeat(rows))
    return wide


def test_a_net_twice_as_wide_is_mapped_onto_the_one_it_was_doubled_from() -> None:
    net = trained("mlp", 0)
    wide = doubled(net)
    images = blobs(100).images
    assert output_difference(net, wide, images) < 1e-6
    result = merge([net, wide], align="optimal-transport", data=blobs(100))
    assert output_difference(net, result.aligned[1], images) < 1e-6
    assert output_difference(net, result.merged, images) < 1e-6


@pytest.mark.parametrize("settings", [{}, {"regularisation": 0.05}, {"ground": "activations"}])
def test_nets_of_other_widths_merge_into_the_firsts_shapes(settings: dict) -> None:
    net, other = make("mlp", 0), mlp(18, 30)
    before = tensors_of(other)
    result = merge([net, other], align="optimal-transport", data=blobs(100), settings={"align": settings})
    assert {name: t.shape for name, t in result.merged.state_dict().items()} == {
        name: t.shape for name, t in net.state_dict().items()
    }
    assert same(tensors_of(other), before)
    back = merge([other, net], align="optimal-transport", data=blobs(100), settings={"align": settings})
    assert back.merged[1].weight.shape == (18, 64)


def test_other_widths_are_refused_by_all_other_methods_and_other_depths_by_this_one_too() -> None:
    with pytest.raises(IncompatibleModels, match="shape"):
        merge([make("mlp", 0), mlp(18, 30)], align="weight-matching", data=blobs(100))
    with pytest.raises(IncompatibleModels, match="different structures"):
        merge(
            [make("mlp", 0), nn.Sequential(*mlp(18, 30), nn.Linear(5, 5))], align="optimal-transport", data=blobs(100)
        )


def test_batch_norm_nets_need_their_reset_after_a_map() -> None:
    pair, test = [trained("residual", 0), trained("residual", 1)], blobs(500, seed=3)
    prepared = prepare(pair, align="cca", correct="batch-norm-reset", data=blobs(300))
    bare = prepared.combine((0.5, 0.5))
    mended = prepared.correct(bare, (0.5, 0.5))
    assert accuracy(mended, test) >= accuracy(bare, test)
    assert same(tensors_of(mended), tensors_of(reset_batch_norm(bare, _same_data(prepared))))


def _same_data(prepared):
    from merging.methods.algorithms.channel_repair import correction_data

    return correction_data(prepared.problem, 5000)


@pytest.mark.parametrize("align", ["cca", "zipit"])
def test_images_are_asked_for(align: str) -> None:
    with pytest.raises(DataUnavailable, match="needs training images"):
        merge([make("mlp", 0), make("mlp", 1)], align=align, example=torch.rand(2, 1, 8, 8))
