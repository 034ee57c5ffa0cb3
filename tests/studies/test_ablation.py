"""Units removed one by one: the laws of removal, against the same networks with the weights of a unit changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merging.analysis.path.evaluation import evaluate
from merging.network.permutation import named_tensors, with_tensors
from merging.studies.ablation import NETS, Ablation
from merging.studies.units import WORDS
from tests.studies.subjects import merged
from tests.studies.test_inside import itself, run


def test_a_unit_set_to_its_mean_is_a_unit_whose_weights_are_moved_into_the_next_bias():
    """A constant unit can be left out if what it adds to the next layer is added to the bias there."""
    subject = merged("mlp")
    found = run("ablation", subject, layer=subject.graph.layers[0].name, images=200)
    net, data = subject.nets["A"], subject.images(200)
    first, second = [layer for layer in subject.graph.layers if layer.kind == "linear"][:2]
    tensors, after = named_tensors(net), subject.graph.layers[1].node
    value = torch.cat([subject.graph.run(tensors, x, until=after)[1][after] for x, _ in data])
    for unit in (0, 5):
        weight, bias = tensors[f"{second.name}.weight"].clone(), tensors[f"{second.name}.bias"].clone()
        bias += weight[:, unit] * value[:, unit].mean()
        weight[:, unit] = 0
        without = with_tensors(net, {f"{second.name}.weight": weight, f"{second.name}.bias": bias})
        score = evaluate(without, data)
        assert found.added["A"][unit] == pytest.approx(score.loss - found.loss["A"], abs=1e-5)
        assert found.lost["A"][unit] == pytest.approx(found.accuracy["A"] - score.accuracy, abs=1e-9)
    assert first.units == len(found.added["A"])


def test_the_networks_are_those_of_the_merge_and_a_dead_unit_costs_nothing():
    subject = merged("cnn")
    facts, found = run("layer", subject, layer="0"), run("ablation", subject, layer="0", images=150)
    for net in NETS:
        score = evaluate(subject.nets[net], subject.images(150))
        assert (found.accuracy[net], found.loss[net]) == (
            pytest.approx(score.accuracy),
            pytest.approx(score.loss, abs=1e-5),
        )
        dead = facts.dead[facts.slots.index(net)]
        np.testing.assert_allclose(found.added[net][dead], 0, atol=1e-6)
        assert np.abs(found.added[net][~dead]).max() > 1e-4


def test_a_merge_of_a_network_with_its_permuted_twin_misses_what_the_network_misses():
    found = run("ablation", itself(), layer="0", images=150)
    np.testing.assert_allclose(found.added["merge"], found.added["A"], atol=1e-5)


def test_fates_and_ranks():
    added = np.array([0.1, 0.5, 0.3, 0.0])
    found = Ablation("x", {}, {}, {"merge": added}, {"merge": added}, 10)
    assert [found.rank(unit) for unit in range(4)] == [3, 1, 2, 4]
    kept, replaced, *_ = WORDS
    groups = found.by_fate({0: kept, 1: kept, 3: replaced})
    assert [(name, count, mean) for name, (count, mean, *_) in groups.items()] == [
        ("all", 3, pytest.approx(0.2)),
        (kept, 2, pytest.approx(0.3)),
        (replaced, 1, pytest.approx(0.0)),
    ]
    assert all(low <= mean <= high for count, mean, low, high in groups.values() if count > 1)
    assert np.isnan(groups[replaced][2:]).all()  # one unit says nothing of others
