import numpy as np
import pytest
import torch
from torch import nn

from merging.analysis.layer_survey import analyse, unit_facts, unmeasured_units
from merging.analysis.similarity.cka import cka
from merging.errors import InvalidRequest
from merging.network.data import as_batches
from merging.network.graph.graph import export
from merging.network.permutation import compose, invert, named_tensors, permute
from merging.network.tracing.tracer import trace_graph

NAMES = ("A", "pi(B)", "merge", "naive")
MODULES = ["0", "1", "2", "3", "4"]
AFTER = {"0": "1", "1": "1", "2": "2", "3": "4", "4": "4"}  # the nonlinearity that follows, or the layer itself


def net(seed):
    torch.manual_seed(seed)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
    layers = [nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(5, 8, 3), nn.ReLU()]
    return nn.Sequential(*layers, *head).eval()


def responses(model, images):
    """Layer name -> (n, U, H, W), module by module and without anything in place."""
    found, value = {}, images
    for name, module in model.named_children():
        value = (nn.ReLU() if isinstance(module, nn.ReLU) else module)(value).detach()
        found[name] = value.double().numpy()
    return found


@pytest.fixture(scope="module")
def case():
    models = [net(seed) for seed in range(4)]
    rng = np.random.default_rng(2)
    data = as_batches((rng.random((150, 1, 10, 10), dtype=np.float32), np.zeros(150, dtype=np.int64)))
    graph = export(models[0], data.example())
    spec = trace_graph(graph)
    return models, data, graph, spec


def nets(models):
    return dict(zip(NAMES, map(named_tensors, models), strict=False))


@pytest.fixture(scope="module")
def facts(case):
    models, data, graph, spec = case
    found = unit_facts(graph, nets(models), spec.random(1), spec, data, exemplars=4)
    return {layer.layer: layer for layer in found}


def test_every_layer_with_a_group_is_there_in_network_order(facts, case):
    assert list(facts) == [*MODULES, "5"]  # the classes have no group
    assert [facts[name].units for name in facts] == [5, 5, 5, 8, 8, 8]
    assert [facts[name].positions for name in facts] == [(10, 10), (10, 10), (5, 5), (3, 3), (3, 3), (1, 1)]
    assert facts["3"].models == NAMES
    assert (facts["3"].kind, facts["3"].images, facts["3"].patch) == ("conv", 150, 0.8)
    spec = case[3]
    np.testing.assert_array_equal(facts["4"].partner, spec.random(1)["3"].numpy())


@pytest.mark.parametrize("name", MODULES)
def test_standard_deviation_peak_and_match_are_those_of_numpy(facts, case, name):
    models, data, *_ = case
    values = [responses(model, data.images)[name] for model in models]
    found = facts[name]
    flat = [v.transpose(1, 0, 2, 3).reshape(v.shape[1], -1) for v in values]
    np.testing.assert_allclose(found.std, [f.std(1) for f in flat], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.peak, [v.mean((2, 3)).max(0) for v in values], rtol=1e-5, atol=1e-6)
    dead = np.zeros_like(found.dead)
    for place in (name, AFTER[name]):
        spread = np.array([responses(model, data.images)[place].std((0, 2, 3)) for model in models])
        dead |= spread < 1e-6 * spread.max(1, keepdims=True)
    np.testing.assert_array_equal(found.dead, dead)
    for unit in np.flatnonzero(~dead[:2].any(0)):
        assert found.match[unit] == pytest.approx(np.corrcoef(flat[0][unit], flat[1][unit])[0, 1], abs=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_exemplars_are_the_images_with_the_strongest_position(facts, case, name):
    models, data, *_ = case
    found = facts[name]
    for number, model in enumerate(models):
        values = responses(model, data.images)[name]
        strongest = values.max((2, 3))
        for unit in np.flatnonzero(~found.dead[number]):
            chosen = found.exemplars[number, unit]
            best = np.sort(strongest[:, unit])[::-1][:4]
            np.testing.assert_allclose(found.exemplar_values[number, unit], best, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(strongest[chosen, unit], best, rtol=1e-5, atol=1e-6)
            for image, (row, column) in zip(chosen, found.exemplar_places[number, unit], strict=True):
                height, width = values.shape[2:]
                at = values[image, unit, int(row * height), int(column * width)]
                assert at == pytest.approx(strongest[image, unit], rel=1e-5, abs=1e-6)
                assert (row * height) % 1 == pytest.approx(0.5)


@pytest.mark.parametrize(("name", "after"), AFTER.items())
def test_responses_are_seen_after_the_nonlinearity(facts, case, name, after):
    models, data, *_ = case
    strongest = [responses(model, data.images)[after].max((2, 3)) for model in models]
    np.testing.assert_allclose(facts[name].seen_mean, [one.mean(0) for one in strongest], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(facts[name].seen_most, [one.max(0) for one in strongest], rtol=1e-5, atol=1e-6)


def test_a_permuted_twin_matches_perfectly_and_its_partner_is_the_old_number(case):
    models, data, graph, spec = case
    b = permute(models[0], spec, spec.random(5))
    back = invert(spec.random(5))
    twin = permute(b, spec, back)
    for layer in unit_facts(graph, nets([models[0], twin]), back, spec, data):
        alive = ~layer.dead[0]
        assert alive.any()
        assert layer.match[alive] == pytest.approx(1, abs=1e-6)
        assert np.isnan(layer.match[~alive]).all()
        np.testing.assert_allclose(layer.std[0], layer.std[1], rtol=1e-5)
    moved = {layer.layer: layer for layer in unit_facts(graph, nets([models[0], b]), spec.random(5), spec, data)}
    still = {layer.layer: layer for layer in unit_facts(graph, nets([models[0]] * 2), spec.identity(), spec, data)}
    for name, layer in moved.items():
        np.testing.assert_allclose(layer.std[1], still[name].std[0][layer.partner], rtol=1e-5, atol=1e-7)
    assert all((compose(back, spec.random(5))[group.name] == torch.arange(group.size)).all() for group in spec.groups)


def test_without_images_every_unit_has_its_partner_and_nothing_else(case, facts):
    _, _, graph, spec = case
    moved = spec.random(1)
    found = unmeasured_units(graph, moved, spec)
    assert [layer.layer for layer in found] == list(facts)
    for layer in found:
        known = facts[layer.layer]
        assert layer.partner.tolist() == known.partner.tolist()
        assert (layer.units, layer.kind, layer.positions) == (known.units, known.kind, known.positions)
        assert layer.images == 0
        assert np.isnan(layer.match).all()
        assert layer.exemplars.shape == (4, layer.units, 0)


def test_a_dead_unit_is_said_to_be_dead_and_has_no_match(case):
    models, data, graph, spec = case
    model = net(0)
    with torch.no_grad():
        model[0].bias[2] = -100  # its ReLU never opens, so the rest of the network sees nothing of it
        model[3].weight[1] = 0  # gives the bias, whatever the image
    found = {layer.layer: layer for layer in unit_facts(graph, nets([model, models[1]]), spec.identity(), spec, data)}
    assert found["1"].dead[0].tolist() == [False, False, True, False, False]
    assert found["0"].dead[0].tolist() == found["1"].dead[0].tolist() and not found["0"].dead[1].any()
    assert found["3"].dead[0, 1]
    assert not found["3"].dead[1, 1]
    assert np.isnan(found["1"].match[2])
    assert np.isnan(found["3"].match[1])
    assert np.isfinite(found["3"].match[[0, 2]]).all()


def test_a_unit_with_a_large_mean_keeps_its_digits(case):
    _, data, graph, spec = case
    model, twin = net(0), net(0)
    with torch.no_grad():
        model[3].bias += 1000
    plain, shifted = (unit_facts(graph, nets([one, twin]), spec.identity(), spec, data)[3] for one in (twin, model))
    np.testing.assert_allclose(shifted.std[0], plain.std[0], rtol=1e-3)
    alive = ~shifted.dead[:2].any(0)
    assert alive.any() and shifted.match[alive] == pytest.approx(1, abs=1e-4)


def test_exemplars_carry_the_numbers_of_the_data_also_of_a_sample(case):
    models, data, graph, spec = case
    sample = data.sample(40, seed=3)
    for layer in unit_facts(graph, nets(models), spec.identity(), spec, sample, exemplars=50):
        assert layer.exemplars.shape == (4, layer.units, 40)  # no more exemplars than images
        assert set(layer.exemplars[0, 0]) == set(sample.order.tolist())
    zeros = as_batches((torch.zeros(9, 1, 10, 10), torch.zeros(9, dtype=torch.int64)))
    tied = unit_facts(graph, nets(models), spec.identity(), spec, zeros, exemplars=3)[0]
    assert (tied.exemplars == [0, 1, 2]).all()


def test_a_survey_gives_the_maps_and_the_facts_of_the_separate_functions(case, facts):
    models, data, graph, spec = case
    told = []
    survey = analyse(
        graph, nets(models), spec.random(1), spec, data, exemplars=4, report=lambda *args: told.append(args)
    )
    assert list(survey.similarity) == ["A-B", "A-pi(B)", "A-merge", "B-merge"]
    pairs = {"A-B": (0, 1), "A-pi(B)": (0, 1), "A-merge": (0, 2), "B-merge": (1, 2)}
    for name, (row, column) in pairs.items():
        found, alone = survey.similarity[name], cka(models[row], models[column], data)
        np.testing.assert_allclose(found.values, alone.values, atol=1e-6)
        assert (found.row, found.column) == tuple(name.split("-"))
        assert found.row_layers == alone.row_layers
    for layer in survey.units:
        np.testing.assert_allclose(layer.match, facts[layer.layer].match, rtol=1e-6)
    assert told[-1] == ("looking inside", 1.0, "150 of 150 images")


def test_a_survey_of_two_networks_and_two_layers(case):
    models, data, graph, spec = case
    survey = analyse(graph, nets(models[:2]), spec.identity(), spec, data, layers=["3", "0"], estimator="biased")
    assert list(survey.similarity) == ["A-B", "A-pi(B)"]
    assert survey.similarity["A-B"].row_layers == ("0", "3")
    assert survey.similarity["A-B"].values.shape == (2, 2)
    with pytest.raises(InvalidRequest, match="two networks"):
        analyse(graph, nets(models[:1]), spec.identity(), spec, data)
