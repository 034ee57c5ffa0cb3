"""Specs are right (permuting any group changes no output), not timid (all hidden units are in one), or refused."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import nn

from merging.errors import UnsupportedOperation
from merging.network.graph.graph import Graph, export
from merging.network.permutation import PermutationSpec, named_tensors, permute, permute_tensors
from merging.network.tracing.tracer import trace, trace_graph, verify
from tests.nets.net_parts import exact as in_float64
from tests.nets.nets import NETS, NEW_SIZES, cnn, mlp
from tests.nets.nets_refused import REFUSED

# Group sizes by hand: every hidden unit of every net, counted once.
SIZES = {
    "mlp": [7, 6],
    "cnn": [6, 4],
    "cnn-batch": [6, 4],
    "cnn-instance": [6, 4],
    **{name: [6, 4] for name in NETS if name.startswith("pool-")},
    **{name: [6] for name in NETS if name.startswith("act-")},
    "residual-batch": [4, 5, 9, 8],
    "residual-group1": [4, 5, 9, 8],
    "residual-layer": [4, 5, 9, 8],
    "residual-pad": [4, 5, 9, 2, 2],
    "residual-cat": [4, 5, 9, 4],
    "used-twice": [5],
    "tied": [5],
    "normalised": [6],
    "squeeze-excitation": [6, 2],
    "concatenated": [4, 3, 5],
    "chunked": [4, 3],
    "depthwise": [4, 9],
    "grouped": [3, 2, 3],
    "transformer": [6, 2, 4, 10],
    "maxout": [6, 4, 2],
    "weight-norm": [5],
    "single-unit": [5],
    **NEW_SIZES,
}


# What torch says of such a layer on any CPU.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")


@cache
def traced(name: str) -> tuple[nn.Module, torch.Tensor, Graph, PermutationSpec]:
    """The net in float64, so that equal outputs prove something."""
    model, example = NETS[name]()
    model, example = model.double(), in_float64(example)
    graph = export(model, example)
    return model, example, graph, trace_graph(graph)


@pytest.mark.parametrize("name", NETS)
def test_every_group_alone_and_all_together_leave_the_outputs(name: str):
    model, example, _, spec = traced(name)
    before = model(example)
    assert before.std() > 1e-3  # a constant output would prove nothing
    drawn = spec.random(1)
    for group in spec.groups:
        order = (
            drawn[group.name].roll(1) if torch.equal(drawn[group.name], torch.arange(group.size)) else drawn[group.name]
        )
        moved = permute(model, spec, spec.identity() | {group.name: order})
        changed = [
            name for name, tensor in named_tensors(moved).items() if not torch.equal(tensor, named_tensors(model)[name])
        ]
        assert set(changed) == {axis.parameter for axis in group.axes}
        assert (moved(example) - before).abs().max() < 1e-9 * before.abs().max()
    assert verify(model, spec, example, seed=2) < 1e-9


@pytest.mark.parametrize("name", NETS)
def test_all_hidden_units_are_in_a_group(name: str):
    assert [group.size for group in traced(name)[3].groups] == SIZES[name]


@pytest.mark.parametrize("name", NETS)
def test_units_are_seen_moving_at_every_site(name: str):
    model, example, graph, spec = traced(name)
    tensors, drawn = named_tensors(model), spec.random(3)
    _, before = graph.run(tensors, example, keep={site.node for group in spec.groups for site in group.nodes})
    for group in spec.groups:
        alone = permute_tensors(tensors, spec, spec.identity() | {group.name: drawn[group.name]})
        _, after = graph.run(alone, example, keep={site.node for site in group.nodes})
        for site in group.nodes:
            seen, moved = (v[site.node].narrow(site.dim, site.offset, group.size) for v in (before, after))
            torch.testing.assert_close(moved, seen.index_select(site.dim, drawn[group.name]), rtol=1e-9, atol=1e-12)
        names = [graph.layer(site.layer).node for site in group.nodes]
        assert names == [site.node for site in group.nodes]


@pytest.mark.parametrize(
    "name, first, head",
    [("mlp", "1", "5"), ("cnn-batch", "0.0", "3"), ("residual-pad", "0.0", "4"), ("tied", "first", "head")],
)
def test_classes_and_inputs_are_never_permuted(name: str, first: str, head: str):
    axes = {key: {axis.dim for axis, _ in pairs} for key, pairs in traced(name)[3].by_parameter.items()}
    assert axes[f"{first}.weight"] == {0}
    assert axes[f"{head}.weight"] == {1}
    assert f"{head}.bias" not in axes


def test_groups_are_named_after_the_layer_that_makes_them():
    assert [group.name for group in traced("residual-batch")[3].groups] == [
        "0.0",
        "1.0.conv1",
        "1.1.conv1",
        "1.1.conv2",
    ]
    padded = [group.name for group in traced("residual-pad")[3].groups]
    assert padded[3:] == ["1.1.conv2[0:2]", "1.1.conv2[6:8]"]
    assert [group.name for group in traced("transformer")[3].groups][::3] == ["patch", "up"]


def test_batch_norm_carries_its_group_on_all_four_vectors():
    spec = traced("cnn-batch")[3]
    on = {axis.parameter for axis in spec.groups[0].axes}
    assert {"0.1.weight", "0.1.bias", "0.1.running_mean", "0.1.running_var"} <= on


def test_a_flattened_picture_is_blocks_of_places():
    (axis, group) = traced("cnn")[3].by_parameter["3.weight"][0]
    assert (axis.dim, axis.block, axis.offset, group.size) == (1, 64, 0, 4)


def test_a_concatenation_offsets_its_streams():
    spec = traced("concatenated")[3]
    places = [(group.name, axis.dim, axis.block, axis.offset) for axis, group in spec.by_parameter["head.weight"]]
    assert places == [("a", 1, 16, 0), ("b", 1, 16, 64), ("c", 1, 16, 112)]


def test_the_spec_is_the_same_every_time():
    assert trace(*NETS["residual-pad"]()) == traced("residual-pad")[3]


def test_the_graph_of_another_device_or_dtype_gives_the_same_spec():
    model, example, _, spec = traced("residual-pad")
    assert trace(copy.deepcopy(model).float(), example.float()) == spec


def test_verify_finds_a_wrong_spec():
    model, example = cnn(nn.BatchNorm2d)
    spec = trace(model, example)
    for left_out in ("0.1.running_mean", "3.weight", "0.3.weight"):
        groups = [
            type(group)(group.name, group.size, tuple(axis for axis in group.axes if axis.parameter != left_out))
            for group in spec.groups
        ]
        assert verify(model, PermutationSpec(tuple(groups)), example) > 1e-3


def test_verify_proves_nothing_by_outputs_that_are_no_numbers():
    model, example = mlp()
    spec = trace(model, example)
    with torch.no_grad():
        model[-1].bias.fill_(torch.nan)
    assert verify(model, spec, example) == float("inf")


def test_verify_leaves_the_model_and_its_type():
    model, example = mlp()
    verify(model, trace(model, example), example)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused_by_name(name: str):
    factory, words = REFUSED[name]
    with pytest.raises(UnsupportedOperation) as refusal:
        trace(*factory())
    assert words in str(refusal.value)
