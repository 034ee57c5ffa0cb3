"""REPAIR and RESCALE: measured statistics are the parents', in the plain architecture, with norms and without."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from merging.methods.algorithms.channel_statistics import (
    ChannelStatistics,
    PreActivations,
    measure_channels,
    pooled_statistics,
    pre_activations,
)
from merging.methods.combine.average import average
from merging.methods.correct.repair import RepairSettings, repair
from merging.methods.correct.rescale import rescale
from merging.methods.problem import Problem
from merging.network.data import Batches
from merging.network.graph.graph import export
from merging.network.permutation import with_tensors
from merging.network.tracing.tracer import trace, trace_graph
from merging.pipeline.merge import merge
from merging.settings import NoSettings
from merging.text.note_sentences import sentences
from tests.nets.pairs import accuracy, blobs, make, problem, same, structure, tensors_of, trained

HALF = (0.5, 0.5)
ALL = RepairSettings(images=1000)


def task(kind: str, data: Batches, seeds: tuple[int, int] = (0, 1)) -> Problem:
    pair = tuple(make(kind, seed) for seed in seeds)
    return dataclasses.replace(problem(kind, pair), data=data)


def merged(given: Problem, weights: tuple[float, float] = HALF) -> nn.Module:
    return with_tensors(given.models[0], average(given, NoSettings())(weights))


def statistics(net: nn.Module, names: tuple[str, ...], data: Batches) -> dict[str, ChannelStatistics]:
    return {name: pooled_statistics(calls) for name, calls in measure_channels(net, names, data).items()}


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
@pytest.mark.parametrize("weights", [HALF, (0.8, 0.2)])
def test_means_and_spreads_are_the_parents(kind: str, weights: tuple[float, float]) -> None:
    given = task(kind, blobs(400, size=400))  # one batch: then it is exact
    got = repair(given, ALL)(merged(given, weights), weights)
    names = pre_activations(got, given.spec, given.data.example()).modules
    now, *parents = (statistics(net, names, given.data) for net in (got, *given.models))
    for name in names:
        mean, std = (
            sum(w * getattr(parent[name], which) for w, parent in zip(weights, parents, strict=True))
            for which in ("mean", "std")
        )
        assert torch.allclose(now[name].std, std, rtol=1e-4)
        assert torch.allclose(now[name].mean, mean, atol=1e-4 * float(std.max()))


def test_averaging_had_shrunk_them() -> None:
    given = task("cnn", blobs(400, size=400))
    net = merged(given)
    names = pre_activations(net, given.spec, given.data.example()).modules
    now, a, b = (statistics(n, names, given.data) for n in (net, *given.models))
    shares = [float((now[n].std / (a[n].std + b[n].std) * 2).mean()) for n in names if n != "3"]
    assert max(shares) < 0.9


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_several_batches_come_close(kind: str) -> None:
    given = task(kind, blobs(1000, size=250))
    got = repair(given, ALL)(merged(given), HALF)
    names = pre_activations(got, given.spec, given.data.example()).modules
    now, a, b = (statistics(net, names, given.data) for net in (got, *given.models))
    ratios = torch.cat([now[name].std / ((a[name].std + b[name].std) / 2) for name in names])
    assert float(ratios.min()) > 0.95
    assert float(ratios.max()) < 1.05


def test_rescale_restores_the_spread_and_keeps_the_mean() -> None:
    given = task("mlp", blobs(400, size=400))
    net = merged(given)
    got = rescale(given, ALL)(net, HALF)
    now, before, a, b = (statistics(n, ("1", "3"), given.data) for n in (got, net, *given.models))
    for name in ("1", "3"):
        assert torch.allclose(now[name].std, (a[name].std + b[name].std) / 2, rtol=1e-4)
    assert torch.allclose(now["1"].mean, before["1"].mean, atol=1e-5)
    assert not torch.allclose(now["3"].mean, (a["3"].mean + b["3"].mean) / 2, atol=1e-2)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
@pytest.mark.parametrize("method", [repair, rescale])
def test_a_net_merged_with_itself_is_left_as_it_is(method, kind: str) -> None:
    net = make(kind, 0)
    given = problem(kind, (net, copy.deepcopy(net)))
    got = method(given, ALL)(copy.deepcopy(net), HALF)
    images = given.data.images
    assert torch.allclose(got(images), net(images), atol=1e-5)


def test_the_architecture_and_the_inputs_stay() -> None:
    given = task("residual", blobs(200))
    net = merged(given)
    before = [tensors_of(m) for m in (net, *given.models)]
    got = repair(given, ALL)(net, HALF)
    assert all(same(old, tensors_of(m)) for old, m in zip(before, (net, *given.models), strict=True))
    assert list(got.state_dict()) == list(net.state_dict())
    assert not any(m._forward_hooks for n in (got, net, *given.models) for m in n.modules())
    assert not any(m.training for m in got.modules())
    make("residual", 3).load_state_dict(got.state_dict())


def test_what_is_corrected_are_pre_activations_and_never_the_logits() -> None:
    example = blobs(2).images
    expected = {"mlp": ("1", "3"), "cnn": ("0", "3", "8")}
    for kind, names in expected.items():
        assert pre_activations(make(kind, 0), structure(kind)[1], example) == PreActivations(names, ())
    names = pre_activations(make("residual", 0), structure("residual")[1], example).modules
    norms = [n for n, m in make("residual", 0).named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert set(names) == set(norms)


def test_a_layer_between_activation_and_norm_is_corrected_too() -> None:
    """conv -> ReLU in place -> BatchNorm: the norm reads the very tensor that the convolution gave, but changed."""
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(216, 5))
    images = blobs(4).images
    assert pre_activations(net.eval(), trace(net, images), images).modules == ("0", "2")


def test_a_layer_without_bias_and_norm_is_scaled_and_named() -> None:
    def bare(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 12, bias=False), nn.ReLU(), nn.Linear(12, 5)).eval()

    pair, data = (bare(0), bare(1)), blobs(400, size=400)
    graph = export(pair[0], data.example())
    given = Problem(pair, graph, trace_graph(graph), data, aligned=pair)
    corrector = repair(given, ALL)
    assert corrector.notes["not_shifted"] == ["1"]
    got = corrector(merged(given), HALF)
    now, a, b = (statistics(net, ("1",), data)["1"] for net in (got, *pair))
    assert torch.allclose(now.std, (a.std + b.std) / 2, rtol=1e-4)


def test_batch_norms_statistics_are_those_of_its_input() -> None:
    given = task("cnn", blobs(400, size=400))
    got = repair(given, ALL)(merged(given), HALF)
    with torch.no_grad():
        rows = got[:3](given.data.images).movedim(1, -1).flatten(0, -2)
    assert torch.allclose(got[3].running_mean, rows.mean(0), atol=1e-5)
    assert torch.allclose(got[3].running_var, rows.var(0, correction=0), rtol=1e-3)


def test_a_dead_channel_does_not_become_nan() -> None:
    given = task("mlp", blobs(200))
    net = merged(given)
    with torch.no_grad():
        net[1].weight[4] = 0
    got = repair(given, ALL)(net, HALF)
    assert all(torch.isfinite(t).all() for t in got.state_dict().values())


def test_it_helps_a_naive_merge_of_trained_nets() -> None:
    pair = trained("cnn", 0), trained("cnn", 1)
    given = dataclasses.replace(problem("cnn", pair), data=blobs(1000))
    net, test = merged(given), blobs(500, seed=1)
    assert accuracy(repair(given, ALL)(net, HALF), test) > accuracy(net, test) + 0.1


class Viewed(nn.Sequential):
    """A plain CNN of colour images whose code reads a picture as rows by `view`, which channels last refuse."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self[2](self[1](self[0](images)).view(images.shape[0], -1))


def test_a_net_that_cannot_read_channels_side_by_side_is_repaired_alike() -> None:
    images = torch.rand(200, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    data = Batches(images, torch.arange(200) % 5, 50)
    found = []
    for kind in (Viewed, lambda conv, relu, head: nn.Sequential(conv, relu, nn.Flatten(), head)):
        nets = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            nets.append(kind(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Linear(216, 5)).eval())
        repaired = merge(nets, correct="repair", data=data).merged
        with torch.no_grad():
            found.append(repaired(images))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


class Upward(nn.Module):
    """A transposed convolution, whose weights are (channels in, channels out, height, width), then a product."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.up, self.weight = nn.ConvTranspose2d(1, 6, 3), nn.Parameter(torch.randn(6, 7))
        self.end = nn.Linear(7, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = self.up(images).relu().mean((2, 3))
        return self.end((means @ self.weight).relu())


class Products(nn.Module):
    """Layers that are no modules, as in exported programs of decomposed networks."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.last = nn.Parameter(torch.randn(64, 7)), nn.Parameter(torch.randn(7, 5))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images.flatten(1) @ self.first).relu() @ self.last


def pair_of(kind: type[nn.Module], data: Batches) -> Problem:
    pair = tuple(kind(seed).eval() for seed in (0, 1))  # type: ignore[call-arg]
    graph = export(pair[0], data.example())
    return Problem(pair, graph, trace_graph(graph), data, aligned=pair)


def test_channels_of_a_transposed_convolution_are_corrected_and_other_weights_are_named() -> None:
    given = pair_of(Upward, blobs(400, size=400))
    corrector = repair(given, ALL)
    assert corrector.notes["corrected"] == ["up"] and corrector.notes["left_out"] == ["weight"]
    got = corrector(merged(given), HALF)
    now, a, b = (statistics(net, ("up",), given.data)["up"] for net in (got, *given.models))
    assert torch.allclose(now.std, (a.std + b.std) / 2, rtol=1e-4)
    assert torch.allclose(now.mean, (a.mean + b.mean) / 2, atol=1e-4)
    told = " ".join(sentences(corrector.notes))
    assert "1 layer was corrected: up." in told
    assert "Not corrected: weight. These are no weights of a linear layer" in told


def test_where_nothing_can_be_corrected_it_is_said_and_nothing_changes() -> None:
    given = pair_of(Products, blobs(400, size=400))
    corrector, net = repair(given, ALL), merged(given)
    assert corrector.notes["corrected"] == [] and "nothing changed" in corrector.notes["reason"]
    assert same(tensors_of(corrector(net, HALF)), tensors_of(net))


class Normed(nn.Module):
    """A convolution before an InstanceNorm, whose scale it removes, and a linear layer before an RMSNorm."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.instance = nn.Conv2d(1, 6, 3), nn.InstanceNorm2d(6, affine=True)
        self.line, self.rms, self.end = nn.Linear(6, 8), nn.RMSNorm(8), nn.Linear(8, 5)
        for parameter in (self.instance.weight, self.instance.bias, self.rms.weight):
            nn.init.normal_(parameter)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = self.instance(self.conv(images)).relu().mean((2, 3))
        return self.end(self.rms(self.line(means)).relu())


def test_norms_are_corrected_in_place_of_the_layers_whose_scale_they_remove() -> None:
    given = pair_of(Normed, blobs(400, size=400))
    corrector = repair(given, ALL)
    assert corrector.notes["corrected"] == ["instance", "rms"] and corrector.notes["not_shifted"] == ["rms"]
    got = corrector(merged(given), HALF)
    for name in ("instance", "rms"):
        now, a, b = (statistics(net, (name,), given.data)[name] for net in (got, *given.models))
        assert torch.allclose(now.std, (a.std + b.std) / 2, rtol=1e-3)
