from itertools import permutations

import numpy as np
import pytest

from merging.analysis.activations.read import by_unit
from merging.analysis.causes.attribution import attribute, blocks_of
from merging.analysis.causes.spectra import compare_weights
from merging.analysis.causes.variance import variances
from merging.analysis.path.evaluation import ensemble, evaluate
from merging.analysis.path.predictions import answers
from merging.network.permutation import named_tensors, permute, with_tensors
from tests.nets.pairs import blobs, make, same, structure, tensors_of, trained, twin
from tests.studies.subjects import mean

DATA = blobs(200, 1)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_shares_sum_to_the_barrier(kind):
    a, b = trained(kind, 0), trained(kind, 1)
    average = mean(kind, a, b)
    found = attribute(a, b, named_tensors(average), DATA, orders=2)
    barrier = evaluate(average, DATA).loss - (evaluate(a, DATA).loss + evaluate(b, DATA).loss) / 2
    assert found.total == pytest.approx(barrier, abs=1e-9)
    assert found.share.sum() == pytest.approx(barrier, abs=1e-9)
    assert len(found.blocks) == len(found.share) == len(found.error)


def test_all_orders_are_shapleys_own_values():
    a, b = trained("mlp", 0), trained("mlp", 1)
    average = named_tensors(mean("mlp", a, b))
    found = attribute(a, b, average, DATA, orders=16)
    blocks = blocks_of(named_tensors(a))
    assert found.orders == 6 and not found.error.any()

    def worth(chosen: frozenset[int]) -> float:
        names = {name for number in chosen for name in blocks[number][1]}
        losses = []
        for start in (a, b):
            mixed = {n: average[n] if n in names else t for n, t in named_tensors(start).items()}
            losses.append(evaluate(with_tensors(a, mixed), DATA).loss)
        return sum(losses) / 2

    own = np.zeros(3)
    for order in permutations(range(3)):
        for place, block in enumerate(order):
            own[block] += (worth(frozenset(order[: place + 1])) - worth(frozenset(order[:place]))) / 6
    np.testing.assert_allclose(found.share, own, atol=1e-9)


def test_networks_that_differ_in_one_layer_have_one_block():
    a = trained("mlp", 0)
    other = with_tensors(a, {"3.weight": 2 * named_tensors(a)["3.weight"]})
    found = attribute(a, other, named_tensors(mean("mlp", a, other)), DATA)
    assert found.blocks == ("3",)
    assert found.share[0] == pytest.approx(found.total)


def test_a_norm_belongs_to_the_layer_before_it_and_many_layers_are_joined():
    assert [name for name, _ in blocks_of(named_tensors(make("cnn", 0)))] == ["0", "2", "8", "10"]
    deep = {f"layers.{n}.weight": make("mlp", 0)[1].weight for n in range(30)}
    blocks = blocks_of(deep)
    assert len(blocks) == 12
    assert sorted(name for _, names in blocks for name in names) == sorted(deep)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_a_permuted_twins_spectra_align_to_one(kind):
    a = trained(kind, 0)
    shuffled, back = twin(kind, a, 3)
    before = compare_weights(named_tensors(a), named_tensors(shuffled))
    after = compare_weights(named_tensors(a), named_tensors(permute(shuffled, structure(kind)[1], back)))
    assert all(one.alignment == pytest.approx(1, abs=1e-6) and one.distance < 1e-6 for one in after)
    assert np.mean([one.alignment for one in before]) < 0.5
    assert all(one.alignment <= 1 + 1e-9 for one in before)


def test_calibration_bins_are_those_of_the_calibration_error():
    net = trained("cnn", 0)
    found = answers([net], DATA)
    count, confidence, right = found.calibration()
    assert count.sum() == DATA.count
    error = np.nansum(count * np.abs(confidence - right)) / DATA.count
    assert error == pytest.approx(evaluate(net, DATA).ece, abs=1e-9)
    assert found.right.mean() == pytest.approx(evaluate(net, DATA).accuracy)
    both = answers([net, trained("cnn", 1)], DATA)
    assert both.right.mean() == ensemble([net, trained("cnn", 1)], DATA).accuracy


def test_variances_are_those_of_all_values_at_once():
    graph, net = structure("cnn")[0], trained("cnn", 0)
    found = variances(graph, net, blobs(200, 1, 70))
    values = {layer.node: layer for layer in graph.layers}
    for (node, value), own in zip(graph.walk(named_tensors(net), DATA.example(200), values), found, strict=True):
        units = by_unit(value, values[node]).transpose(0, 1).flatten(1).double()
        np.testing.assert_allclose(own, units.var(1, correction=0), rtol=1e-5, atol=1e-9)


def test_nothing_is_changed():
    a, b = trained("cnn", 0), trained("cnn", 1)
    before = [tensors_of(net) for net in (a, b)]
    attribute(a, b, named_tensors(mean("cnn", a, b)), DATA, orders=2)
    assert all(same(old, tensors_of(net)) for old, net in zip(before, (a, b), strict=True))
