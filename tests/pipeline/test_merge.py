"""The whole merge: what it refuses, what it proves, and that aligned merges beat naive ones on trained nets."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from merging.errors import (
    DataUnavailable,
    IncompatibleModels,
    InvalidRequest,
    InvalidSetting,
    NotEquivalent,
    UnsupportedOperation,
)
from merging.network.data import Batches, as_batches
from merging.network.permutation import PermutationSpec, permute
from merging.network.tracing import tracer
from merging.paths import ASSETS
from merging.pipeline.merge import merge, output_difference, prepare
from merging.zoo.checkpoints.checkpoint import load_checkpoint
from merging.zoo.datasets.load import load_split
from tests.nets.nets import NETS
from tests.nets.pairs import accuracy, blobs, make, same, structure, tensors_of, trained, twin

EXAMPLE = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
ZOO = ASSETS / "zoo"


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_a_twin_merges_into_the_net_and_the_proof_is_noted(kind: str) -> None:
    net = make(kind, 0)
    other, _ = twin(kind, net, 4)
    before = tensors_of(net), tensors_of(other)
    result = merge([net, other], example=EXAMPLE)
    assert same(tensors_of(result.merged), before[0])
    assert same(tensors_of(result.aligned[1]), before[0])
    assert result.aligned[0] is net
    assert (tensors_of(net).keys(), same(tensors_of(net), before[0]), same(tensors_of(other), before[1])) == (
        before[0].keys(),
        True,
        True,
    )
    assert result.notes["equivalence"] < 1e-12
    assert result.notes["trace"]["error"] < 1e-12
    assert result.notes["trace"]["permuted"] == result.notes["trace"]["units"]
    assert result.notes["trace"]["places"].keys() == structure(kind)[1].sizes.keys()
    assert result.notes["align"]["objective"] > 0


@pytest.mark.parametrize("align", ["weight-matching", "activation-matching"])
@pytest.mark.parametrize(
    "name", ["residual-pad", "tied", "concatenated", "grouped", "transformer", "maxout", "pointwise-over-units"]
)
def test_twins_of_unusual_networks_merge_into_the_net(name: str, align: str) -> None:
    """Padded streams, shared weights, convolution groups and heads: every aligner finds the twin's permutation, and
    REPAIR has nothing to correct."""
    net, example = NETS[name]()
    spec = tracer.trace(net, example)
    images = torch.randn(60, *example.shape[1:], generator=torch.Generator().manual_seed(1))
    data = Batches(images, torch.zeros(60, dtype=torch.int64), size=20)
    prepared = prepare([net, permute(net, spec, spec.random(3))], align=align, correct="repair", data=data)
    merged = prepared.combine((0.5, 0.5))
    assert same(tensors_of(merged), tensors_of(net))
    assert output_difference(net, prepared.correct(merged, (0.5, 0.5)), images) < 1e-5


def test_aligned_beats_naive_on_trained_nets() -> None:
    pair, test = [trained("mlp", 0), trained("mlp", 1)], blobs(500, seed=1)
    ends = [accuracy(net, test) for net in pair]
    naive, aligned = (
        accuracy(merge(pair, align=key, example=EXAMPLE).merged, test) for key in ("none", "weight-matching")
    )
    assert min(ends) > 0.9
    assert naive < aligned - 0.1
    assert aligned > min(ends) - 0.05


def shipped(name: str) -> list[nn.Module]:
    return [load_checkpoint(ZOO / f"{name}-s{seed}.safetensors").build() for seed in (0, 1)]


def fashion(split: str, count: int) -> Batches:
    images = load_split("fashion-mnist", split, count)
    return as_batches((images.images, images.labels))


def test_the_shipped_convolutional_pair_merges() -> None:
    """Published shape of the effect: a naive midpoint guesses, a matched one is near the parents, REPAIR nearer."""
    pair, train, test = shipped("fashion-cnn"), fashion("train", 300), fashion("test", 300)
    naive = accuracy(merge(pair, align="none", data=train).merged, test)
    prepared = prepare(pair, correct="repair", data=train)
    plain = prepared.combine((0.5, 0.5))
    matched, repaired = (accuracy(net, test) for net in (plain, prepared.correct(plain, (0.5, 0.5))))
    assert naive < 0.5
    assert naive + 0.3 < matched
    assert matched - 0.02 < repaired
    assert repaired > min(accuracy(net, test) for net in pair) - 0.06


@pytest.mark.parametrize("similarity", ["pearson", "product", "distance"])
def test_the_shipped_dense_pair_merges_by_activations(similarity: str) -> None:
    pair, train, test = shipped("fashion-mlp-128"), fashion("train", 1000), fashion("test", 1000)
    naive = accuracy(merge(pair, align="none", data=train).merged, test)
    wishes = {"align": {"similarity": similarity}}
    matched = accuracy(merge(pair, align="activation-matching", data=train, settings=wishes).merged, test)
    assert naive + 0.1 < matched
    assert matched > min(accuracy(net, test) for net in pair) - 0.05


def test_the_ends_of_a_prepared_merge_are_the_checkpoints_and_nothing_is_mutated() -> None:
    pair = [make("cnn", 0), make("cnn", 1)]
    before = [tensors_of(net) for net in pair]
    prepared = prepare(pair, example=EXAMPLE)
    assert same(tensors_of(prepared.combine((1, 0))), before[0])
    assert same(tensors_of(prepared.combine((0, 1))), tensors_of(prepared.problem.aligned[1]))
    prepared.combine((0.3, 0.7))[0].weight.data.zero_()
    assert all(same(old, tensors_of(net)) for old, net in zip(before, pair, strict=True))
    assert same(tensors_of(prepared.combine((1, 0))), before[0])


def test_the_same_seed_gives_the_same_bytes() -> None:
    pair = [make("residual", 0), make("residual", 1)]
    first, again = (
        merge(pair, data=blobs(300), correct="repair", seed=5, settings={"correct": {"images": 200}}) for _ in range(2)
    )
    assert same(tensors_of(first.merged), tensors_of(again.merged))
    assert first.notes == again.notes


def test_no_axis_of_classes_or_inputs_is_in_a_group() -> None:
    for kind, head in (("mlp", "5"), ("cnn", "10"), ("residual", "8")):
        axes = {(axis.parameter, axis.dim) for group in structure(kind)[1].groups for axis in group.axes}
        assert (f"{head}.weight", 1) in axes
        assert (f"{head}.weight", 0) not in axes
        assert (f"{head}.bias", 0) not in axes


def test_training_mode_and_gradients_are_left_alone() -> None:
    pair = [make("cnn", 0).train(), make("cnn", 1).train()]
    pair[0](EXAMPLE).sum().backward()
    grad = pair[0][0].weight.grad.clone()
    before = [tensors_of(net) for net in pair]
    merged = merge(pair, example=EXAMPLE).merged
    assert all(net.training for net in pair)
    assert torch.equal(pair[0][0].weight.grad, grad)
    assert all(same(old, tensors_of(net)) for old, net in zip(before, pair, strict=True))
    assert not merged.training


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_precision_is_kept(kind: torch.dtype) -> None:
    pair = [make("cnn", seed).to(kind) for seed in (0, 1)]
    result = merge(pair, data=blobs(200), correct="repair", settings={"correct": {"images": 100}})
    assert {p.dtype for p in result.merged.parameters()} == {kind}
    assert all(torch.isfinite(p).all() for p in result.merged.parameters())


def test_weights_of_the_models_are_checked_and_used() -> None:
    pair = [make("mlp", 0), make("mlp", 1)]
    got = merge(pair, align="none", example=EXAMPLE, weights=(0.25, 0.75)).merged
    assert torch.allclose(got[1].weight, 0.25 * pair[0][1].weight + 0.75 * pair[1][1].weight)
    for weights in ((0.5, 0.6), (1.0,), (float("nan"), 1.0)):
        with pytest.raises(InvalidRequest, match="sum to 1"):
            merge(pair, example=EXAMPLE, weights=weights)


def test_every_stage_is_told() -> None:
    told: list[str] = []
    pair = [make("cnn", 0), make("cnn", 1)]
    merge(pair, data=blobs(200), correct="repair", report=lambda stage, *rest: told.append(stage))
    assert list(dict.fromkeys(told)) == ["tracing", "matching", "verifying", "combining", "correcting"]


def refused(error: type[Exception], words: str, models: list[nn.Module], **more: object) -> None:
    with pytest.raises(error, match=words):
        merge(models, **{"example": EXAMPLE, **more})


def test_unmergeable_networks_are_refused_in_words() -> None:
    net = make("mlp", 0)
    refused(IncompatibleModels, "1 network is given; a merge takes 2 to 32", [net])
    refused(IncompatibleModels, "33 networks are given; a merge takes 2 to 32", [net] * 33)
    refused(IncompatibleModels, "different structures", [net, make("cnn", 0)])
    wider = copy.deepcopy(net)
    wider[1], wider[3] = nn.Linear(64, 30), nn.Linear(30, 20)
    refused(IncompatibleModels, r"1.weight has shape \(24, 64\)", [net, wider])
    strided = copy.deepcopy(make("cnn", 0))
    strided[5] = nn.AvgPool2d(2)
    refused(IncompatibleModels, "max_pool2d", [make("cnn", 0), strided])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_refused(value: float) -> None:
    broken = make("mlp", 1)
    with torch.no_grad():
        broken[3].weight[2, 2] = value
    refused(IncompatibleModels, "Network B holds NaN or infinity in 3.weight", [make("mlp", 0), broken])


def test_missing_data_and_wrong_wishes_are_refused() -> None:
    pair = [make("cnn", 0), make("cnn", 1)]
    refused(DataUnavailable, "Activation matching needs training images", pair, align="activation-matching")
    refused(DataUnavailable, "REPAIR needs training images", pair, correct="repair")
    refused(InvalidRequest, "example", pair, example=None)
    refused(InvalidRequest, "does not use a base", pair, base=pair[0])
    refused(InvalidSetting, "Known: none", pair, correct="nonsense")
    refused(InvalidSetting, "restarts is 0", pair, settings={"align": {"restarts": 0}})
    refused(InvalidSetting, "'alignment'", pair, settings={"alignment": {}})


def test_an_untraceable_network_is_refused() -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(64, 8), nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x.flatten(1)).cumsum(1))

    refused(UnsupportedOperation, "cumsum", [Sorted(), Sorted()])


def test_a_wrong_spec_stops_the_merge_before_any_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault that no one may ship: an axis that the tracer forgot."""
    right = structure("mlp")[1]
    group = right.groups[0]
    axes = tuple(axis for axis in group.axes if axis.dim != 1)
    wrong = PermutationSpec((type(group)(group.name, group.size, axes, group.nodes), *right.groups[1:]))
    monkeypatch.setattr(tracer, "trace_graph", lambda graph: wrong)
    refused(NotEquivalent, "a permutation symmetry would change", [make("mlp", 0), make("mlp", 1)])


def test_a_merge_traces_its_structure_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[object] = []
    original = tracer.trace_graph
    monkeypatch.setattr(tracer, "trace_graph", lambda graph: traced.append(graph) or original(graph))
    merge([make("mlp", 0), make("mlp", 1)], example=EXAMPLE, settings={"align": {"restarts": 1}})
    assert len(traced) == 1


def test_output_difference_is_relative() -> None:
    net = make("mlp", 0)
    changed = copy.deepcopy(net)
    with torch.no_grad():
        changed[5].weight.mul_(1.5)
        changed[5].bias.mul_(1.5)
    assert output_difference(net, changed, EXAMPLE) == pytest.approx(0.5)


def test_a_network_that_ends_in_a_softmax_is_noted_and_learned_from_as_such() -> None:
    pair = [nn.Sequential(*make("mlp", seed), nn.Softmax(1)) for seed in (0, 1)]
    assert merge(pair, example=EXAMPLE).notes["outputs"] == "probabilities"
    assert "outputs" not in merge([net[:-1] for net in pair], example=EXAMPLE).notes
    settings = {"align": {"steps": 3}}
    with_softmax, plain = (
        merge(nets, align="straight-through", data=blobs(60), settings=settings)
        for nets in (pair, [net[:-1] for net in pair])
    )
    first, second = (result.notes["align"]["checks"] for result in (with_softmax, plain))
    assert np.array(first) == pytest.approx(np.array(second), rel=1e-4)


def test_the_public_names_are_there_and_merge_stays_the_function() -> None:
    import merging.pipeline.merge

    assert callable(merging.merge)
    assert merging.merge is merge
    assert {"trace", "permute", "verify", "merge", "invert", "METHODS", "RECIPES"} <= set(dir(merging))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = merging.nonsense


LEARNS = ("straight-through", "sinkhorn", "frank-wolfe", "cycle-consistent")


@pytest.mark.parametrize("align", ["weight-matching", "activation-matching", *LEARNS])
def test_a_merge_inside_inference_mode_or_of_networks_made_there_is_the_merge_outside(align: str) -> None:
    nets, data = [make("cnn", 0), make("cnn", 1)], blobs(60)
    settings = {"align": {"steps": 2} if align in ("straight-through", "sinkhorn") else {}}
    outside = merge(nets, align=align, correct="repair", data=data, settings=settings)
    with torch.inference_mode():
        made = [copy.deepcopy(net) for net in nets]
        inside = merge(nets, align=align, correct="repair", data=data, settings=settings)
    assert all(tensor.is_inference() for net in made for tensor in net.parameters())
    for other in (inside, merge(made, align=align, correct="repair", data=data, settings=settings)):
        assert same(tensors_of(other.merged), tensors_of(outside.merged))
