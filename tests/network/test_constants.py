"""Buffers that are no weights stay as they are in every merge, or the merge is refused naming them."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from merging.analysis.path.evaluation import evaluate
from merging.analysis.path.interpolation import interpolate
from merging.analysis.path.plane import surface
from merging.errors import IncompatibleModels
from merging.methods.registry import methods
from merging.network.constants import constants_of, pinned_by, statistics_of, without_constants
from merging.network.data import as_batches
from merging.network.graph.graph import export
from merging.network.permutation import named_tensors, permute
from merging.network.tracing.tracer import trace
from merging.pipeline.merge import merge, output_difference, prepare
from merging.zoo.architectures import build
from merging.zoo.torchvision_import import torchvision
from tests.nets.attentive_nets import NETWORKS
from tests.nets.nets import Forward, ready

TOKENS = 4
GENERATOR = torch.Generator().manual_seed(5)
DATA = as_batches((torch.randn(40, TOKENS, 6, generator=GENERATOR), torch.arange(40) % 3), 16)
FLAT = as_batches((torch.randn(40, 6, generator=GENERATOR), torch.arange(40) % 3), 16)


def attend(m: Forward, x: torch.Tensor) -> torch.Tensor:
    """Attention with a buffer of every kind."""
    y = m.embed(x) + m.places(m.position_ids)
    q, k, v = m.q(y), m.k(y), m.v(y)
    turned = torch.view_as_complex(q.unflatten(-1, (4, 2)).contiguous()) * m.frequencies
    scores = torch.view_as_real(turned).flatten(-2) @ k.transpose(1, 2) + m.mask
    scores = scores.masked_fill(m.hidden_places, -1e9)
    y = y + (scores.softmax(-1) @ v + m.bias[m.index])
    return m.head(F.gelu(m.up(torch.cat([y.mean(1), m.empty.expand(y.shape[0], 0)], 1))))


def attention(seed: int) -> nn.Module:
    later = torch.ones(TOKENS, TOKENS).triu(1).bool()
    angles = torch.outer(torch.arange(4.0), 10.0 ** -torch.arange(4.0))
    buffers = {
        "position_ids": torch.arange(TOKENS)[None],
        "index": (torch.arange(TOKENS)[:, None] + torch.zeros(8, dtype=torch.int64)) % 3,
        "mask": torch.zeros(TOKENS, TOKENS).masked_fill(later, -torch.inf),
        "hidden_places": later,
        "frequencies": torch.polar(torch.ones_like(angles), angles),
        "empty": torch.empty(0),
    }
    linear = {name: nn.Linear(8, 8) for name in "qkv"}
    ends = {"embed": nn.Linear(6, 8), "up": nn.Linear(8, 10), "head": nn.Linear(10, 3)}
    learned = {"places": nn.Embedding(TOKENS, 8), "bias": nn.Parameter(torch.zeros(3))}
    return ready(Forward(attend, **linear, **ends, **learned, **buffers), seed=seed)[0]


def grid(seed: int, kind: str) -> nn.Module:
    """A layer whose inputs each have a grid of their own, as in Kolmogorov-Arnold networks: the rows alike, or not."""
    knots = torch.linspace(-2, 2, 5).expand(7, 5).clone()
    if kind == "by unit":
        knots += torch.arange(7.0)[:, None] / 7
    if kind == "by network":
        knots += torch.randn(7, 5, generator=torch.Generator().manual_seed(seed))

    def run(m: Forward, x: torch.Tensor) -> torch.Tensor:
        bumps = torch.exp(-((m.first(x)[..., None] - m.grid) ** 2))
        return m.head(m.second(torch.einsum("nig,oig->no", bumps, m.splines)).relu())

    parts = {"first": nn.Linear(6, 7), "second": nn.Linear(8, 9), "head": nn.Linear(9, 3)}
    return ready(Forward(run, **parts, splines=nn.Parameter(torch.zeros(8, 7, 5)), grid=knots), seed=seed)[0]


def untouched(model: nn.Module, like: nn.Module) -> None:
    for name, tensor in constants_of(like).items():
        kept = named_tensors(model)[name]
        assert kept.dtype == tensor.dtype
        assert torch.equal(kept, tensor), name


NETS = {
    "attention": (attention, DATA, 6),
    "swin": (lambda seed: NETWORKS["swin"](seed)[0], None, 8),
    "grid": (partial(grid, kind="alike"), FLAT, 1),
}


@pytest.mark.parametrize("align", ["weight-matching", "activation-matching", "cca", "zipit", "optimal-transport"])
@pytest.mark.parametrize("name", ["attention", "grid"])
def test_constants_are_carried_along_unchanged(name: str, align: str) -> None:
    build, data, count = NETS[name]
    a, b = build(0), build(1)
    assert len(constants_of(a)) == count
    prepared = prepare([a, b], align=align, data=data)
    exact = align in ("weight-matching", "activation-matching")
    assert not exact or prepared.notes["equivalence"] < 1e-9
    for weights in ((1, 0), (0, 1), (0.5, 0.5), (0.3, 0.7)):
        merged = prepared.merge(weights).merged
        untouched(merged, a)
        assert bool(torch.isfinite(merged(data.example(5))).all())
    untouched(prepared.problem.aligned[1], a)
    spec = prepared.problem.spec
    twin = permute(a, spec, spec.random(3))
    assert output_difference(a, twin, data.example(5)) < 1e-9
    if exact:
        result = merge([a, twin], align=align, data=data)
        torch.testing.assert_close(result.merged(data.example(5)), a(data.example(5)), rtol=1e-4, atol=1e-4)


def test_relative_positions_of_a_swin_are_carried_along() -> None:
    a, example = NETWORKS["swin"](0)
    b = NETWORKS["swin"](1)[0]
    assert any("relative_position_index" in name for name in constants_of(a))
    result = merge([a, b], example=example)
    assert result.notes["equivalence"] < 1e-9
    untouched(result.merged, a)


@pytest.mark.parametrize("combine", [key for key in methods()["combine"] if not methods()["combine"][key].needs_data])
def test_no_combination_changes_a_constant(combine: str) -> None:
    a, b = attention(0), attention(1)
    base = {"base": attention(2)} if methods()["combine"][combine].needs_base else {}
    result = merge([a, b], align="none", combine=combine, example=DATA.example(), **base)
    untouched(result.merged, a)
    assert bool(torch.isfinite(result.merged(DATA.example(5))).all())


def test_curves_and_planes_go_through_networks_with_masks_of_infinities() -> None:
    nets = [attention(seed) for seed in (0, 1, 2)]
    assert bool(torch.isfinite(torch.from_numpy(interpolate(*nets[:2], DATA, points=5).loss)).all())
    _, found = surface(nets, DATA, resolution=5, refine=False)
    assert bool(torch.isfinite(torch.from_numpy(found.loss)).all())


def test_a_grid_that_is_alike_for_all_units_keeps_none_of_them_in_place() -> None:
    a, b = grid(0, "alike"), grid(1, "alike")
    notes = merge([a, b], example=FLAT.example()).notes["trace"]
    assert notes["permuted"] == notes["units"]
    assert set(notes["places"]) == {"first", "splines", "second"}
    assert notes["pinned"] == {"splines'": "grid"}  # the knots: another order of them would be another grid


@pytest.mark.parametrize("align", ["weight-matching", "activation-matching"])
def test_units_with_constants_of_their_own_keep_their_places(align: str) -> None:
    a, b = grid(0, "by unit"), grid(1, "by unit")
    full = trace(a, FLAT.example())
    moved = permute(b, full, full.random(1))  # right, but its grid is in another order than A's
    assert output_difference(b, moved, FLAT.example(5)) < 1e-9
    prepared = prepare([a, b], align=align, data=FLAT)
    assert prepared.notes["trace"]["pinned"] == {"first": "grid", "splines'": "grid"}
    assert set(prepared.problem.spec.sizes) == {"splines", "second"}
    assert prepared.notes["equivalence"] < 1e-9
    merged = prepared.merge().merged
    untouched(merged, a)
    torch.testing.assert_close(merged.first.weight, (a.first.weight + b.first.weight) / 2)
    with pytest.raises(IncompatibleModels, match="The buffer grid is not the same in network A and in network B"):
        merge([a, moved], example=FLAT.example())


@pytest.mark.parametrize("align", ["weight-matching", "activation-matching"])
def test_constants_that_differ_are_refused_by_name(align: str) -> None:
    a, b = grid(0, "by network"), grid(1, "by network")
    words = r"The buffer grid is not the same in network A and in network B.*nn\.Parameter"
    with pytest.raises(IncompatibleModels, match=words):
        merge([a, b], align=align, data=FLAT)
    with pytest.raises(IncompatibleModels, match=words):
        interpolate(a, b, FLAT, points=3)
    for name, change in {"index": 1, "frequencies": 1j, "hidden_places": True}.items():
        other = copy.deepcopy(attention(1))
        getattr(other, name)[0, 0] += change
        with pytest.raises(IncompatibleModels, match=f"The buffer {name} is not the same"):
            merge([attention(0), other], align=align, data=DATA)


def test_a_base_with_other_constants_is_refused() -> None:
    base = attention(2)
    base.mask[0, 0] = 1.0
    with pytest.raises(IncompatibleModels, match="The buffer mask is not the same in network A and in the base"):
        merge([attention(0), attention(1)], combine="ties", base=base, example=DATA.example())


def test_what_the_forward_pass_does_not_read_may_differ_and_is_never_re_ordered() -> None:
    def build(seed: int) -> nn.Module:
        parts = {"first": nn.Linear(6, 7), "head": nn.Linear(7, 3), "unused": nn.Linear(7, 4)}
        counters = {"steps": torch.tensor(seed), "best": torch.full((7,), float(seed)), "none": torch.empty(0, 7)}
        return ready(Forward(lambda m, x: m.head(m.first(x).relu()), **parts, **counters), seed=seed)[0]

    a, b = build(0), build(1)
    assert [group.name for group in trace(a, FLAT.example()).groups] == ["first"]
    prepared = prepare([a, b], example=FLAT.example())
    assert torch.equal(prepared.problem.aligned[1].unused.weight, b.unused.weight)
    assert int(prepared.merge().merged.steps) == 0
    interpolate(a, b, FLAT, points=3)


def test_statistics_of_norms_are_weights_also_where_all_of_the_norm_is_buffers() -> None:
    def build(seed: int) -> nn.Module:
        frozen = torchvision.ops.FrozenBatchNorm2d(6)
        layers = [nn.Conv2d(3, 6, 3), frozen, nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)]
        model, _ = ready(nn.Sequential(*layers), seed=seed)
        frozen.weight.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(seed))
        return model

    a, b, example = build(0), build(1), torch.randn(2, 3, 6, 6)
    assert statistics_of(a) == {f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var")}
    assert constants_of(a) == {}
    result = merge([a, b], example=example)
    assert result.notes["equivalence"] < 1e-9
    expected = (a[1].weight + result.aligned[1][1].weight) / 2
    torch.testing.assert_close(result.merged[1].weight, expected)
    assert statistics_of(nn.Sequential(nn.BatchNorm1d(3))) >= {"0.running_mean", "0.num_batches_tracked"}


def test_complex_weights_are_averaged() -> None:
    def build(seed: int) -> nn.Module:
        weight = nn.Parameter(torch.randn(4, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed)))

        def run(m: Forward, x: torch.Tensor) -> torch.Tensor:
            turned = torch.view_as_complex(m.first(x).unflatten(1, (4, 2))) * m.gain
            return m.head(torch.view_as_real(turned).flatten(1).relu())

        model = Forward(run, first=nn.Linear(6, 8), head=nn.Linear(8, 3))
        ready(model, seed=seed)
        model.gain = weight
        return model.eval()

    a, b = build(0), build(1)
    merged = merge([a, b], align="none", example=FLAT.example()).merged
    torch.testing.assert_close(merged.gain, (a.gain + b.gain) / 2)
    spec = trace(a, FLAT.example())
    twin = permute(a, spec, spec.random(2))
    torch.testing.assert_close(merge([a, twin], example=FLAT.example()).merged.gain, a.gain)
    assert interpolate(a, b, FLAT, points=3).loss[1] == pytest.approx(evaluate(merged, FLAT).loss)
    assert export(a, FLAT.example()).shapes["gain"] == (4,)


def test_a_mask_of_infinities_is_no_broken_weight_and_a_broken_statistic_is() -> None:
    net = attention(0)
    spec = trace(net, DATA.example())
    assert pinned_by(spec, constants_of(net)) == {"q[0:8]": "frequencies"}  # each pair turns at a speed of its own
    assert without_constants(spec, constants_of(net)).sizes == {"embed": 8, "up": 10}
    pair = [nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).eval() for _ in range(2)]
    pair[1][1].running_mean[2] = torch.nan
    with pytest.raises(IncompatibleModels, match=r"Network B holds NaN or infinity in 1\.running_mean"):
        merge(pair, example=FLAT.example())


@pytest.mark.parametrize(
    ("architecture", "config"), [("mlp", {"widths": [6]}), ("torchvision/squeezenet1_1", {"classes": 3})]
)
@pytest.mark.parametrize("other", [((0.1,) * 3, (0.2,) * 3), ((0.0,) * 3, (1.0,) * 3)])
def test_networks_with_other_normalisations_are_refused_with_the_remedy(architecture, config, other):
    shape = {"in_shape": [3, 8, 8]} if architecture == "mlp" else {}
    one, two = (build(architecture, {**config, **shape}, *scale) for scale in (((0.5,) * 3, (0.5,) * 3), other))
    with pytest.raises(IncompatibleModels, match="normalised differently"):
        merge([one, two], example=torch.rand(2, 3, 8 if shape else 64, 8 if shape else 64))


def test_networks_of_two_kinds_are_refused_for_that_and_not_for_their_normalisation():
    one = build("mlp", {"widths": [6], "in_shape": [3, 8, 8]}, (0.5,) * 3, (0.5,) * 3)
    two = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 7), torch.nn.ReLU(), torch.nn.Linear(7, 10))
    with pytest.raises(IncompatibleModels, match="different structures"):
        merge([one, two], example=torch.rand(2, 3, 8, 8))
