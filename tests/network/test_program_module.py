"""Programs as modules: the same function, names, layers and groups as the network that was exported."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

import merging
from merging.errors import IncompatibleModels, UnsupportedOperation
from merging.network.graph.graph import export, structural_difference
from merging.network.permutation import named_tensors
from merging.network.programs.module import ProgramModule, program_constants
from merging.network.programs.writer import write_program
from merging.network.tracing.tracer import trace_graph, verify
from merging.paths import ROOT
from merging.zoo.checkpoints.reading.programs.program import read_program
from tests.nets.programs import exported, inputs, loaded, module, net, saved

CORPUS = (
    *("cnn-instance", "residual-batch", "residual-pad", "concatenated", "grouped", "transformer", "tied", "used-twice"),
    *("weight-norm", "max-of-units", "attention", "pinned", "gru", "gpt-by-hand"),
)


def perturbed(model: nn.Module, seed: int = 5) -> nn.Module:
    """Another network of the same structure."""
    twin, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return twin


@pytest.mark.parametrize("name", CORPUS)
def test_a_program_computes_what_the_network_did(name):
    model, example = net(name)
    ours = module(name)
    for count in (1, 2, 5):
        x = inputs(example, count)
        with torch.no_grad():
            expected = model(x.clone())
            torch.testing.assert_close(ours(x), expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))
    state = ours.state_dict()
    assert list(state) == list(model.state_dict())
    copy.deepcopy(model).load_state_dict(state, strict=True)


@pytest.mark.parametrize("name", CORPUS)
def test_its_graph_is_the_networks_own(name):
    model, example = net(name)
    theirs, ours = export(model, example), export(module(name), example)
    pinned = {entry.name for entry in exported(name).program.constants}
    assert ours.layers == theirs.layers
    assert [node.name for node in ours.nodes] == [node.name for node in theirs.nodes]
    assert trace_graph(ours) == trace_graph(theirs)
    assert dict(ours.shapes) == {key: shape for key, shape in theirs.shapes.items() if key not in pinned}
    assert pinned or structural_difference(ours, theirs) == ""
    assert verify(module(name), trace_graph(ours), example) < 1e-12


@pytest.mark.parametrize("name", ["transformer", "tied", "pinned"])
def test_programs_merge_as_the_networks_themselves(name):
    model, example = net(name)
    other = perturbed(model)
    a, b = module(name), module(name)
    b.load_state_dict(other.state_dict(), strict=True)
    compare_merges([a, b], [model, other], {"example": example})
    with torch.no_grad():
        assert torch.equal(a(example), module(name)(example)), "merging changed a network that it was given"


@pytest.mark.parametrize("correct", ["repair", "batch-norm-reset"])
def test_corrections_reach_the_layers_of_a_program(correct):
    """They look for torch's own modules: a correction that finds none would leave a broken network and say nothing."""
    model, example = net("residual-batch")
    other, images = perturbed(model), inputs(example, 40)
    a, b = module("residual-batch"), module("residual-batch")
    b.load_state_dict(other.state_dict(), strict=True)
    wishes = {"data": (images, torch.arange(40) % 3), "align": "activation-matching", "correct": correct}
    notes = compare_merges([a, b], [model, other], wishes)
    assert notes["trace"]["batch_norms"] == 6


def compare_merges(ours, theirs, wishes):
    mine, wanted = merging.merge(ours, **wishes), merging.merge(theirs, **wishes)
    assert mine.notes["equivalence"] < 1e-14
    assert mine.notes["trace"] == wanted.notes["trace"]
    assert mine.notes["correct"] == wanted.notes["correct"]
    for key, tensor in wanted.merged.state_dict().items():
        torch.testing.assert_close(mine.merged.state_dict()[key], tensor, rtol=1e-6, atol=1e-6)
    return mine.notes


def test_programs_are_compared_and_interpolated_as_the_networks_themselves():
    model, example = net("residual-batch")
    other, images = perturbed(model), inputs(example, 30)
    a, b = module("residual-batch"), module("residual-batch")
    b.load_state_dict(other.state_dict(), strict=True)
    np.testing.assert_allclose(merging.cka(a, b, images).values, merging.cka(model, other, images).values, atol=1e-9)
    data = (images, torch.arange(30) % 5)
    curves = [merging.interpolate(*pair, data, points=3) for pair in ((a, b), (model, other))]
    assert repr(curves[0]) == repr(curves[1])
    pictures = [
        merging.feature_images(one, "0.0", [0, 2], input_shape=example.shape[1:], steps=2) for one in (a, model)
    ]
    np.testing.assert_allclose(*pictures, atol=1e-6)


def test_constants_are_pinned():
    """They are neither parameters nor buffers, nothing permutes or averages them, and networks that differ there are
    two kinds."""
    ours, example = module("pinned"), net("pinned")[1]
    constants = program_constants(ours)
    assert set(constants) == {"shift", "scale", "lifted_tensor_0"}
    assert not set(constants) & {*ours.state_dict(), *named_tensors(ours)}
    moved = {axis.parameter for group in trace_graph(export(ours, example)).groups for axis in group.axes}
    assert not moved & set(constants)
    found = exported("pinned")
    other = ProgramModule(found.program, found.state, constants | {"shift": constants["shift"] + 1})
    with pytest.raises(IncompatibleModels, match="structures"):
        merging.merge([ours, other], example=example)


def test_a_copy_of_a_weight_that_was_kept_is_no_constant():
    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
            self.kept = self.layer.weight.detach().t().clone()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head((x @ self.kept + self.layer.bias).relu())

    x = torch.randn(2, 4)
    found = read_program(saved(Kept().eval(), x))
    with pytest.raises(UnsupportedOperation, match=r"layer\.weight is no longer read"):
        export(ProgramModule(found.program, found.state, found.constants), x)


def test_constants_follow_the_module():
    ours, example = module("pinned"), net("pinned")[1]
    exact = copy.deepcopy(ours).double()
    assert {tensor.dtype for tensor in program_constants(exact).values()} == {torch.float64}
    assert {tensor.dtype for tensor in program_constants(ours).values()} == {torch.float32}
    assert {tensor.device.type for tensor in program_constants(copy.deepcopy(ours).to("meta")).values()} == {"meta"}
    with torch.no_grad():
        torch.testing.assert_close(exact(example.double()).float(), ours(example), rtol=1e-5, atol=1e-6)


def test_a_softmax_of_a_written_type_follows_the_module():
    ours, example = module("attention"), net("attention")[1]
    with torch.no_grad():
        assert copy.deepcopy(ours).double()(example.double()).dtype == torch.float64


def test_tied_tensors_stay_tied():
    ours = module("tied")
    assert ours.get_parameter("one.weight") is ours.get_parameter("two.weight")
    twin = copy.deepcopy(ours)
    assert twin.get_parameter("one.weight") is twin.get_parameter("two.weight")
    assert twin.get_parameter("one.weight") is not ours.get_parameter("one.weight")
    found = exported("tied")
    less = {name: tensor for name, tensor in found.state.items() if name not in found.aliases}
    assert set(ProgramModule(found.program, less, {}).state_dict()) == set(found.state)
    torn = dict(found.state) | {"two.weight": found.state["two.weight"] + 1}
    with pytest.raises(IncompatibleModels, match="one tensor"):
        ProgramModule(found.program, torn, {})


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda state: state.pop("first.weight"), "missing"),
        (lambda state: state.update({"first.weight": torch.zeros(2, 2)}), "has shape"),
        (lambda state: state.update({"mask": torch.zeros(4)}), "holds torch.float32"),
        (lambda state: state.update({"more": torch.zeros(4)}), "no tensor more"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change, words):
    found = exported("pinned")
    state = dict(found.state)
    change(state)
    with pytest.raises(IncompatibleModels, match=words):
        ProgramModule(found.program, state, found.constants)


def test_an_input_that_does_not_fit_is_refused_in_words():
    with pytest.raises(UnsupportedOperation, match=r"exported with \(n, 6\)"):
        export(module("pinned"), torch.zeros(2, 7))
    tokens = net("gpt-by-hand")[1]
    with pytest.raises(UnsupportedOperation, match=r"exported with \(n, \d\): index out of range"):
        export(module("gpt-by-hand"), torch.full_like(tokens, 10**6))


@pytest.mark.parametrize("name", ["residual-batch", "tied", "pinned", "attention", "gpt-by-hand"])
def test_what_is_written_runs_with_torch_alone(name):
    ours, example = module(name), net(name)[1]
    data = write_program(ours)
    alone = loaded(data)
    for count in (1, 2, 5):
        x = inputs(example, count)
        with torch.no_grad():
            torch.testing.assert_close(alone(x), ours(x), rtol=1e-6, atol=1e-6)
    assert list(alone.state_dict()) == list(ours.state_dict())
    again = read_program(data)
    graphs = [export(one, example) for one in (ours, ProgramModule(again.program, again.state, again.constants))]
    assert graphs[0].layers == graphs[1].layers
    assert trace_graph(graphs[0]) == trace_graph(graphs[1])
    assert b"site-packages" not in data, "a path of this machine is in a file for somebody else"
    assert str(ROOT).encode() not in data


def test_a_merge_is_written_with_the_persons_own_names():
    model, example = net("residual-batch")
    a, b = module("residual-batch"), module("residual-batch")
    b.load_state_dict(perturbed(model).state_dict())
    merged = merging.merge([a, b], example=example).merged
    alone = loaded(write_program(merged))
    with torch.no_grad():
        torch.testing.assert_close(alone(example), merged(example), rtol=1e-6, atol=1e-6)
    copy.deepcopy(model).load_state_dict(alone.state_dict(), strict=True)


def test_training_mode_has_no_meaning_and_saving_needs_no_pickle():
    ours, example = module("cnn-batch"), net("cnn-batch")[1]
    with torch.no_grad():
        before = ours(example)
    out = io.BytesIO()
    torch.save(ours.state_dict(), out)
    state = torch.load(io.BytesIO(out.getvalue()), weights_only=True)
    twin = module("cnn-batch")
    twin.load_state_dict(state, strict=True)
    assert not twin.training
    with torch.no_grad():
        assert torch.equal(twin(example), before)
