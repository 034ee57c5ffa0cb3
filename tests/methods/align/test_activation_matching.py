"""Activation matching recovers permuted twins by every similarity, at both sites, and survives dead units."""

import dataclasses

import pytest
import torch

from merging.errors import DataUnavailable
from merging.methods.algorithms.activation_statistics import Moments, sites_by_group, unit_moments
from merging.methods.align.activation_matching import ActivationMatchingSettings, activation_matching
from tests.nets.pairs import make, problem, structure, tensors_of, twin

SIMILARITIES = ("pearson", "product", "distance")


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
@pytest.mark.parametrize("similarity", ["pearson", "distance"])
@pytest.mark.parametrize("site", ["after", "before"])
def test_a_permuted_twin_is_recovered(kind: str, similarity: str, site: str) -> None:
    model = make(kind, 0)
    other, back = twin(kind, model, 5)
    wishes = ActivationMatchingSettings(similarity=similarity, site=site, images=200)
    found = activation_matching(problem(kind, (model, other)), wishes)
    for group, p in found.permutations[1].items():
        # A unit of these random nets that never fires after its ReLU could stand anywhere: it says nothing of itself.
        dead = found.notes["dead"][group][0]
        assert int((p != back[group]).sum()) <= dead
        assert p.dtype == torch.int64
        assert site == "after" or dead == 0


def test_moments_give_the_correlation_of_numpy() -> None:
    a, b = torch.randn(90, 4) * 3 + 10, torch.randn(90, 4)
    moments = Moments(4)
    for start in (0, 40, 80):
        moments.add(a[start : start + 40], b[start : start + 40])
    expected = torch.corrcoef(torch.cat([a, b], 1).T.double())[:4, 4:]
    assert torch.allclose(moments.similarity("pearson"), expected, atol=1e-10)
    assert torch.allclose(moments.similarity("product"), (a.double().T @ b.double()) / 90)
    assert torch.allclose(moments.similarity("distance"), -torch.cdist(a.T.double(), b.T.double()) / 90**0.5)


def test_a_dead_unit_correlates_zero_and_stays_where_it_is() -> None:
    model = make("mlp", 0)
    with torch.no_grad():
        model[1].bias.fill_(2)  # so that every other unit fires
        model[1].weight[3] = 0
        model[1].bias[3] = -1
    found = activation_matching(problem("mlp", (model, model)), ActivationMatchingSettings(images=100))
    assert found.notes["dead"]["1"] == [1, 1]
    assert torch.equal(found.permutations[1]["1"], torch.arange(24))
    assert found.notes["mean_similarity"]["1"] == pytest.approx(23 / 24)


def test_a_constant_unit_counts_as_dead() -> None:
    moments = Moments(2)
    values = torch.rand(50, 2)
    values[:, 0] = 1 / 3
    moments.add(values, values)
    assert moments.constant("a").tolist() == [True, False]
    assert moments.similarity("pearson")[0].tolist() == [0.0, 0.0]


def test_the_sites_are_those_that_were_asked_for() -> None:
    graph, spec = structure("residual")
    kinds = {layer.node: layer.kind for layer in graph.layers}
    for where, kind in (("after", "activation"), ("before", "norm")):
        sites = sites_by_group(graph, spec, where)
        assert list(sites) == [group.name for group in spec.groups]
        assert {kinds[site.node] for chosen in sites.values() for site in chosen} == {kind}
    stream = sites_by_group(graph, spec, "after")[spec.groups[0].name]
    assert len(stream) == 2  # after the stem and after the first block's sum


def test_a_residual_streams_sites_are_all_counted() -> None:
    model = make("residual", 0)
    task = problem("residual", (model, make("residual", 1)))
    sites = sites_by_group(task.graph, task.spec, "after")
    moments = unit_moments(task, sites, task.data)
    assert {len(moments[group]) for group in sites} == {1, 2}
    assert {m.rows for m in moments[task.spec.groups[0].name]} == {300 * 64}  # every position of every image


def test_batches_do_not_change_the_moments() -> None:
    task = problem("cnn", (make("cnn", 0), make("cnn", 1)))
    sites = sites_by_group(task.graph, task.spec, "before")
    whole, parts = (unit_moments(task, sites, task.data.sized(size)) for size in (300, 7))
    for group in sites:
        assert torch.allclose(whole[group][0].ab, parts[group][0].ab, rtol=1e-4)


def test_similarities_are_three_methods() -> None:
    task = problem("cnn", (make("cnn", 0), make("cnn", 1)))
    found = [activation_matching(task, ActivationMatchingSettings(similarity=s)).permutations[1] for s in SIMILARITIES]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert any(not torch.equal(found[first][g], found[second][g]) for g in found[0])


def test_the_notes_say_what_was_read() -> None:
    before = tensors_of(make("cnn", 1))
    task = problem("cnn", (make("cnn", 0), make("cnn", 1)))
    notes = activation_matching(task, ActivationMatchingSettings(images=150, site="before")).notes
    assert (notes["images"], notes["site"], notes["similarity"]) == (150, "before", "pearson")
    assert notes["stable"].keys() == notes["sites"].keys() and all(0 < one <= 1 for one in notes["stable"].values())
    assert notes["sites"] == {"0": ["0"], "2": ["3"], "8": ["8"]}
    assert all(torch.equal(before[name], t) for name, t in task.models[1].state_dict().items())


def test_without_data_it_says_so() -> None:
    task = dataclasses.replace(problem("mlp", (make("mlp", 0), make("mlp", 1))), data=None)
    with pytest.raises(DataUnavailable, match="training images"):
        activation_matching(task, ActivationMatchingSettings())
