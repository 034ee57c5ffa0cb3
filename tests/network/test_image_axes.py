"""Layers are read image by image wherever their values hold the images: equal to what single images give."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.layer_values import hooked_cka, textbook_cka
from merging.analysis.activations.features import read_layers
from merging.analysis.activations.read import by_unit, named_layers
from merging.analysis.activations.responses import respond
from merging.analysis.causes.variance import variances
from merging.analysis.layer_survey import analyse
from merging.analysis.similarity.cka import cka, compare
from merging.errors import InvalidRequest
from merging.network.data import Batches
from merging.network.graph.graph import Graph, export
from merging.network.graph.image_axes import ImageAxis
from merging.network.permutation import named_tensors
from merging.network.tracing.tracer import trace_graph
from tests.nets.attentive_nets import NETWORKS, Encoder, classifier

ATTENTIVE = ("vit", "swin", "encoder", "encoder, batch second")


def images(name: str, count: int) -> torch.Tensor:
    shape = NETWORKS[name](0)[1].shape[1:]
    return torch.from_numpy(np.random.default_rng(3).standard_normal((count, *shape), dtype=np.float32))


@cache
def pair(name: str) -> tuple[tuple[nn.Module, ...], tuple[nn.Module, ...], Graph]:
    """Two networks, the same in float64, and their graph."""
    nets = [NETWORKS[name](seed)[0] for seed in (0, 1)]
    return tuple(nets), tuple(copy.deepcopy(net).double() for net in nets), export(*NETWORKS[name](0))


def batches(data: torch.Tensor, size: int = 500) -> Batches:
    return Batches(data, torch.zeros(len(data), dtype=torch.int64), size, dtype=data.dtype)


def alone(graph, tensors, data: torch.Tensor, layer, flat: bool) -> np.ndarray:
    """Features (n, p) from passes of one image each: there is nothing to tell apart but units and the rest."""
    rows = []
    for image in data:
        _, kept = graph.run(tensors, image[None], [layer.node])
        value = kept[layer.node].movedim(layer.dim, 0).flatten(1).double()
        rows.append(value.flatten() if flat else value.mean(1))
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("flat", [False, True], ids=["pooled", "flattened"])
@pytest.mark.parametrize("name", NETWORKS)
def test_cka_is_the_textbooks_of_what_modules_give_for_single_images(name: str, flat: bool) -> None:
    (a, b), _, graph = pair(name)
    data, treatment = images(name, 9), "flattened" if flat else "pooled"
    expected = hooked_cka(a, b, data, flat)
    assert len(expected) >= 4
    layers = named_layers(graph, list(expected))
    found = compare([(graph, named_tensors(net), layers) for net in (a, b)], batches(data), treatment=treatment)
    values = dict(zip(found.row_layers, np.diag(found.values), strict=True))
    assert values == pytest.approx(expected, abs=2e-5, nan_ok=True)


@pytest.mark.parametrize("flat", [False, True], ids=["pooled", "flattened"])
@pytest.mark.parametrize("name", NETWORKS)
def test_cka_of_every_layer_is_that_of_single_images_whatever_the_size_of_a_pass(name: str, flat: bool) -> None:
    _, exact, graph = pair(name)
    data, treatment = images(name, 6).double(), "flattened" if flat else "pooled"
    sides = [(graph, named_tensors(net), named_layers(graph, None)) for net in exact]
    assert sides[0][2] == graph.layers
    expected = {
        layer.name: textbook_cka(*(alone(graph, tensors, data, layer, flat) for _, tensors, _ in sides))
        for layer in graph.layers
    }
    for size in (6, 4, 1):
        found = compare(sides, batches(data, size), treatment=treatment)
        values = dict(zip(found.row_layers, np.diag(found.values), strict=True))
        assert values == pytest.approx(expected, abs=1e-7, nan_ok=True)


def test_a_similarity_map_of_two_transformers_takes_all_their_layers() -> None:
    (a, b), _, graph = pair("encoder, batch second")
    found = cka(a, b, images("encoder, batch second", 9))
    assert found.row_layers == tuple(layer.name for layer in graph.layers)
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize("treatment", ["pooled", "flattened"])
@pytest.mark.parametrize("name", ATTENTIVE)
def test_minibatches_read_the_same_images(name: str, treatment: str) -> None:
    """With one minibatch the products are of the first third of the images with the rest, as of single images."""
    _, (net, _), graph = pair(name)
    data, side = images(name, 12).double(), (graph, named_tensors(net), graph.layers)
    found = compare([side, side], batches(data), treatment=treatment, minibatch=12, seed=4)
    drawn = data[np.random.default_rng(4).permutation(12)]
    products = []
    for layer in graph.layers:
        x = alone(graph, named_tensors(net), drawn, layer, treatment == "flattened")
        first, rest = (part - part.mean(0) for part in (x[:4], x[4:]))
        products.append((first @ rest.T).ravel())
    unit = np.stack(products) / np.linalg.norm(products, axis=1, keepdims=True)
    np.testing.assert_allclose(found.values, unit @ unit.T, atol=1e-7)


@pytest.mark.parametrize("name", ATTENTIVE)
def test_everything_that_reads_layers_reads_them_image_by_image(name: str) -> None:
    _, (a, b), graph = pair(name)
    data, spec, tensors = images(name, 5).double(), trace_graph(graph), named_tensors(a)
    flat = read_layers(graph, tensors, batches(data, 2), flat=True)
    spread = variances(graph, a, batches(data, 2))
    assert len(flat) == len(graph.layers)
    for layer, features, variance in zip(graph.layers, flat, spread, strict=True):
        expected = torch.from_numpy(alone(graph, tensors, data, layer, True))
        torch.testing.assert_close(features, expected, rtol=1e-9, atol=1e-12)
        units = expected.view(5, layer.units, -1)
        assert units.shape[2] == np.prod(layer.positions, dtype=int)
        torch.testing.assert_close(variance, units.var((0, 2), correction=0), rtol=1e-9, atol=1e-12)
        answers = respond(graph, tensors, layer, data)
        torch.testing.assert_close(answers.mean, units.mean(2).float(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(answers.top, units.amax(2).float())
    nets = {"A": tensors, "pi(B)": named_tensors(b)}
    survey = analyse(graph, nets, spec.identity(), spec, batches(data, 2), exemplars=2)
    places = {layer.name: layer for layer in graph.layers}
    for facts in survey.units:
        units = torch.from_numpy(alone(graph, tensors, data, places[facts.layer], True)).view(5, facts.units, -1)
        assert (facts.images, facts.positions) == (5, places[facts.layer].positions)
        np.testing.assert_allclose(facts.std[0], units.std((0, 2), correction=0), rtol=1e-6, atol=1e-9)
        alive = ~facts.dead[0]
        np.testing.assert_array_equal(facts.exemplars[0, alive, 0], units.amax(2).argmax(0)[alive])


def test_the_images_are_where_the_network_puts_them() -> None:
    first, second, vit, swin = (pair(name)[2] for name in ("encoder", "encoder, batch second", "vit", "swin"))
    assert first.layer("encoder.layers.0.linear1").images == ImageAxis(0)
    layers = {layer.name: layer for layer in second.layers}
    assert layers["encoder.layers.0.linear1"].images == ImageAxis(1)
    assert layers["encoder.layers.0.linear1"].positions == (6,)
    inside = [layer for layer in vit.layers if layer.images.outer > 1]
    assert {layer.images for layer in inside} == {ImageAxis(0, 5, 1)}  # attention's output: 5 tokens times images
    assert {layer.positions for layer in inside} == {(5,)}
    windows = [layer for layer in swin.layers if layer.images.inner > 1]
    assert windows and all(layer.images.outer == 1 for layer in windows)


def test_as_many_images_as_tokens_are_not_confused() -> None:
    layer = export(Encoder(batch_first=False).eval(), torch.randn(6, 6, 7)).layer("encoder.layers.0.linear1")
    assert (layer.images, layer.dim) == (ImageAxis(1), 2)


class Centred(nn.Module):
    """Takes the mean image of the batch away."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x).relu()
        return self.head(self.second(hidden - hidden.mean(0)).relu())


@pytest.mark.parametrize("network", ["centred", "batch norm"])
def test_layers_that_mix_the_images_are_refused_by_name(network: str) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(6, track_running_stats=False)
    net = Centred() if network == "centred" else nn.Sequential(nn.Linear(4, 6), norm, nn.ReLU(), nn.Linear(6, 3))
    net, data = net.eval(), torch.randn(12, 4)
    first, mixed = ("first", "second") if network == "centred" else ("0", "1")
    graph = export(net, data[:2])
    with pytest.raises(InvalidRequest, match=f"{mixed} mixes the images.*track_running_stats=True"):
        cka(net, net, data)
    with pytest.raises(InvalidRequest, match=f"{mixed} mixes the images"):
        cka(net, net, data, layers=[mixed], minibatch=4)
    with pytest.raises(InvalidRequest, match=f"{mixed} mixes the images"):
        respond(graph, named_tensors(net), graph.layer(mixed), data)
    assert cka(net, net, data, layers=[first]).values[0, 0] == pytest.approx(1)


class Gram(nn.Module):
    """Compares every image with every other one, beside what it says of each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.head = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        return self.head(hidden).where(self.act(hidden @ hidden.T).sum() >= 0, 0.0)


def test_a_layer_without_a_dimension_of_images_is_left_out_and_refused_by_name() -> None:
    torch.manual_seed(0)
    net, data = Gram().eval(), torch.randn(12, 4)
    graph = export(net, data[:2])
    assert graph.layer("act").images is None
    assert "act" not in [layer.name for layer in named_layers(graph, None)]
    with pytest.raises(InvalidRequest, match="which dimension of the output of act holds the images"):
        named_layers(graph, ["act"])
    with pytest.raises(InvalidRequest, match="act"):
        by_unit(torch.zeros(2, 2), graph.layer("act"))


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_the_weights_do_not_matter_for_where_the_images_lie(fill: float) -> None:
    net, example = classifier(NETWORKS["swin"], fill)
    assert export(net, example).layers == pair("swin")[2].layers
