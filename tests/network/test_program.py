"""Programs as values: only sound ones can be made, whatever the text, and their shapes are tried before they run."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from merging.errors import CheckpointError, MergescopeError, UnsupportedOperation
from merging.network.graph.graph import export
from merging.network.programs.graph import trial
from merging.network.programs.json_text import program_from_json, program_to_json
from merging.network.programs.module import ProgramModule, program_of
from merging.network.programs.operators import Term
from merging.network.programs.program import Program, ProgramNode, ProgramTensor
from tests.nets.programs import exported, inputs, module, net


def program(**changes: object) -> Program:
    """relu(x @ weight^T), or what it becomes with changes."""
    x, weight = Term("value", "x"), Term("value", "w")
    nodes = (
        ProgramNode("linear", "aten.linear.default", (x, weight), (), (0,)),
        ProgramNode("relu", "aten.relu.default", (Term("value", "linear"),), (), ()),
    )
    tensors = (ProgramTensor("fc.weight", "parameter", (3, 4), "float"),)
    made = {"input": "x", "shape": (4,), "dtype": "float", "nodes": nodes, "output": "relu", "tensors": tensors}
    return Program(**{**made, "reads": (("w", "fc.weight"),), "calls": ("fc",), **changes})


def running(target: str, *args: object, shape: tuple[int, ...] = (4,), **kwargs: object) -> Program:
    """One operation on the input."""
    node = ProgramNode("y", target, args, tuple(kwargs.items()), ())
    return Program("x", shape, "float", (node,), "y", (), (), ())


X = Term("value", "x")


@pytest.mark.parametrize("name", ["residual-pad", "pinned", "gpt-by-hand"])
def test_its_text_is_compact_and_gives_the_same_program(name):
    first = exported(name).program
    text = program_to_json(first)
    again = program_from_json(text)
    assert program_to_json(again) == text
    assert text.isascii()
    assert " " not in text.replace("relu ", "")
    found = exported(name)
    x = inputs(net(name)[1], 3)
    with torch.no_grad():
        assert torch.equal(ProgramModule(again, found.state, found.constants)(x), module(name)(x))


UNSOUND = {
    "anywhere": ({"nodes": (ProgramNode("y", "aten.zeros.default", ((9,),), (), ()),)}, "device argument"),
    "number for a tensor": (
        {"nodes": (ProgramNode("y", "aten.repeat.default", (1.0, (10**5, 10**5)), (), ()),)},
        "argument self is not of type Tensor",
    ),
    "later": (
        {"nodes": (ProgramNode("y", "aten.relu.default", (Term("value", "z"),), (), ()),)},
        "comes later or never",
    ),
    "itself": ({"nodes": (ProgramNode("y", "aten.relu.default", (Term("value", "y"),), (), ()),)}, "comes later"),
    "foreign": ({"nodes": (ProgramNode("y", "os.system", ("true",), (), ()),)}, "not an operator"),
    "attribute": ({"nodes": (ProgramNode("y", "aten.relu.__class__.mro", (X,), (), ()),)}, "not an operator"),
    "unruly": ({"nodes": (ProgramNode("y", "aten.empty_like.default", (X,), (), ()),)}, "memory or files"),
    "files": ({"nodes": (ProgramNode("y", "aten.from_file.default", ("/etc/passwd",), (), ()),)}, "memory or files"),
    "out": ({"nodes": (ProgramNode("y", "aten.add.out", (X, X), (("out", X),), ()),)}, "no rule"),
    "lists": ({"nodes": (ProgramNode("y", "aten.mul.left_t", ((1,), 10**9), (), ()),)}, "no rule"),
    "no argument": ({"nodes": (ProgramNode("y", "aten.relu.default", (), (), ()),)}, "argument self is missing"),
    "many arguments": ({"nodes": (ProgramNode("y", "aten.relu.default", (X, X), (), ()),)}, "2 arguments"),
    "word for a tensor": ({"nodes": (ProgramNode("y", "aten.relu.default", ("x",), (), ()),)}, "is not of type Tensor"),
    "number of a list": ({"nodes": (ProgramNode("y", "operator.mul", (X, 3), (), ()),)}, "not of type number"),
    "huge": ({"nodes": (ProgramNode("y", "aten.mul.Scalar", (X, 2**63), (), ()),)}, "more than 64 bits"),
    "no number": ({"nodes": (ProgramNode("y", "aten.mul.Scalar", (X, float("nan")), (), ()),)}, "is NaN"),
    "twice": ({"reads": (("x", "fc.weight"),)}, "two values"),
    "name": ({"input": "x y"}, "has a value"),
    "output": ({"output": "x"}, "not one of its operations"),
    "tensor name": ({"tensors": (ProgramTensor("../w", "parameter", (3, 4), "float"),), "reads": ()}, "does not allow"),
    "inside": ({"tensors": (*program().tensors, ProgramTensor("fc", "buffer", (1,), "float"))}, "inside another"),
    "size": ({"tensors": (ProgramTensor("fc.weight", "parameter", (2**30, 2**30), "float"),)}, "has the shape"),
    "type": ({"dtype": "object"}, "has the type"),
    "training": (
        {"nodes": (ProgramNode("relu", "aten.dropout.default", (X, 0.5, True), (), ()),), "reads": ()},
        "training mode",
    ),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_an_unsound_program_cannot_be_made(case):
    changes, words = UNSOUND[case]
    if "nodes" in changes:
        changes = {"output": changes["nodes"][-1].name, "reads": (), "tensors": (), "calls": (), **changes}
    with pytest.raises((CheckpointError, UnsupportedOperation), match=words) as refused:
        program(**changes)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    "hungry, words",
    [
        (running("aten.zeros.default", (100_000, 100_000), device=Term("device", "run")), "GB"),
        (running("aten.repeat.default", X, (100_000, 100_000)), "GB"),
        (running("aten.arange.default", 10**12, device=Term("device", "run")), "GB"),
        (running("aten.view.default", X, (3, 3)), "does not accept"),
        (running("aten.embedding.default", X, X), "does not accept"),
    ],
)
def test_shapes_are_tried_before_anything_runs(hungry, words):
    with pytest.raises(UnsupportedOperation, match=words):
        program_from_json(program_to_json(hungry))
    with pytest.raises(UnsupportedOperation, match=words):
        ProgramModule(hungry, {}, {})


def test_an_input_is_not_changed_in_place():
    x = torch.tensor([[-1.0, 1.0, 2.0, -3.0]])
    assert float(ProgramModule(running("aten.relu_.default", X), {}, {})(x).min()) == 0
    assert float(x.min()) == -3


def test_a_value_is_not_cut_into_a_million_tensors():
    nodes = (
        ProgramNode("many", "aten.expand.default", (X, (2, 300_000, 4)), (), ()),
        ProgramNode("cut", "aten.unbind.int", (Term("value", "many"), 1), (), ()),
        ProgramNode("y", "operator.getitem", (Term("value", "cut"), 0), (), ()),
    )
    made = Program("x", (1, 4), "float", nodes, "y", (), (), ())
    with pytest.raises(UnsupportedOperation, match="pieces"):
        trial(made)


def test_lengths_that_would_be_read_beyond_their_end_are_refused():
    """torch's weight norm does not look whether there are as many lengths as rows."""
    node = ProgramNode("y", "aten._weight_norm.default", (Term("value", "v"), Term("value", "g"), 0), (), ())
    tensors = (ProgramTensor("v", "parameter", (4, 3), "float"), ProgramTensor("g", "parameter", (0, 1), "float"))
    made = Program("x", (3,), "float", (node,), "y", tensors, (("v", "v"), ("g", "g")), ())
    with pytest.raises(UnsupportedOperation, match="lengths"):
        trial(made)


def test_numbers_stay_within_64_bits():
    size = ProgramNode("n0", "aten.sym_size.int", (X, 0), (), ())
    squares = [
        ProgramNode(f"n{k + 1}", "operator.mul", (Term("value", f"n{k}"), Term("value", f"n{k}")), (), ())
        for k in range(9)
    ]
    last = ProgramNode("y", "aten.mul.Scalar", (X, Term("value", "n9")), (), ())
    with pytest.raises(UnsupportedOperation, match="64 bits"):
        trial(Program("x", (4,), "float", (size, *squares, last), "y", (), (), ()))


def test_a_program_that_changes_its_weights_is_refused():
    nodes = (ProgramNode("y", "aten.add_.Tensor", (Term("value", "w"), 1.0), (), ()),)
    made = program(nodes=nodes, output="y", calls=())
    with pytest.raises(UnsupportedOperation, match=r"changes fc\.weight in place"):
        trial(made)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 100_000, '{"format":1}', '{"format":' + "9" * 5000 + "}", "NaN"]
)
def test_a_damaged_text_is_one_error(text):
    with pytest.raises(CheckpointError):
        program_from_json(text)


WORDS = [[], {}, "x", "conv2d", "aten.relu.default", "operator.mul", {"value": "x"}, {"dtype": "int64"}, 0, 1, 2]
junk = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=4), st.sampled_from(WORDS)
)


@given(st.randoms(use_true_random=False), junk)
@settings(max_examples=120, deadline=None)
def test_a_changed_text_is_refused_or_runs_within_bounds(random, value):
    """Whatever stands in the place of one part of a program's text: one of our errors, or a network that runs."""
    fields = json.loads(program_to_json(exported("pinned").program))
    place = fields
    while True:
        key = random.choice(list(place) if isinstance(place, dict) else range(len(place)))
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or random.random() < 0.1:
            break
        place = inner
    place[key] = value
    try:
        made = program_from_json(json.dumps(fields))
        found = exported("pinned")
        export(ProgramModule(made, found.state, found.constants), torch.zeros(2, *made.shape))
    except MergescopeError:
        return
    assert program_to_json(made) != "" and program_of(ProgramModule(made, found.state, found.constants)) is made


def test_programs_are_values():
    first = program()
    assert copy.deepcopy(first) is first
    with pytest.raises(AttributeError):
        first.output = "linear"
    assert program_to_json(replace(first, torch="2.13.0")) != program_to_json(first)
