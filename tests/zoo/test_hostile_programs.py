"""Exported programs from anybody: nothing of a file ever runs, and what is refused is refused in one clear error."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from merging.errors import CheckpointError, MergescopeError, UnsupportedOperation
from merging.network.graph.graph import export
from merging.network.programs.json_text import program_to_json
from merging.network.programs.module import ProgramModule
from merging.zoo.checkpoints.reading.programs.program import read_program
from merging.zoo.checkpoints.sandbox import convert
from tests.nets.programs import exported, file_of, inputs, net
from tests.zoo.hostile import Program
from tests.zoo.hostile_program_files import hostile
from tests.zoo.hostile_programs import MODEL, changed, files, graph, packed, with_files

MARK = Path("mergescope-program-was-run")
CASES = hostile(str(MARK))


@pytest.fixture(autouse=True)
def nothing_ran():
    yield
    assert not MARK.exists(), "a file that was only read ran a program"


@pytest.mark.parametrize("name", CASES)
def test_hostile_programs_are_one_error_that_says_what_was_found(name, monkeypatch):
    data, words = CASES[name]
    for forbidden in ("load", "export"):
        monkeypatch.setattr(torch.export, forbidden, None)
    monkeypatch.setattr(pickle, "Unpickler", None)
    with pytest.raises((CheckpointError, UnsupportedOperation), match=words) as refused:
        read_program(data)
    text = str(refused.value)
    assert len(text) < 600
    assert text.isprintable()


def test_there_are_enough_of_them():
    assert len(CASES) >= 40


def run(data: bytes, x: Tensor) -> Tensor:
    found = read_program(data)
    with torch.no_grad():
        return ProgramModule(found.program, found.state, found.constants)(x)


def test_what_is_not_needed_is_not_looked_at():
    """Expressions, guards, sample inputs and what else torch would evaluate: with a program in each of them the network
    is read as before."""
    code = f"__import__('os').system('touch {MARK}')"

    def everywhere(whole: dict) -> None:
        whole["guards_code"] = [code]
        whole["range_constraints"] = {code: {"min_val": 2, "max_val": None}}
        found = whole["graph_module"]["graph"]
        for value in (*found["sym_int_values"].values(), *found["sym_bool_values"].values()):
            if "as_expr" in value:
                value["as_expr"]["expr_str"] = code
        for node in found["nodes"]:
            node["metadata"] |= {"stack_trace": code, "torch_fn": code, "source_fn_stack": f"a,{code}", "custom": code}
        whole["graph_module"]["metadata"] = {"custom": code}
        whole["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = code

    x = inputs(net("pinned")[1], 3)
    expected = run(file_of("pinned"), x)
    description = json.loads(files()[MODEL])
    everywhere(description)
    evil = pickle.dumps(Program(str(MARK)))
    extra = {"data/sample_inputs/model.pt": evil, "data/constants/custom_obj_0": evil, "extra/notes": evil}
    assert torch.equal(run(with_files(**{MODEL: json.dumps(description).encode(), **extra}), x), expected)
    assert torch.equal(run(packed(files(), root="Mein Netz für später"), x), expected)


junk = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3), st.sampled_from(["x", "linear", "Infinity", "0", [], {}, [1], 0, 1, 2, 5, {"as_int": 3}]),
)  # fmt: skip


def somewhere(random: object, description: object) -> tuple[object, object]:
    """A place in a description: what holds it, and the key."""
    place = description
    while True:
        key = random.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], (dict, list)) or not place[key] or random.random() < 0.1:
            return place, key
        place = place[key]


@given(
    st.randoms(use_true_random=False),
    junk,
    st.sampled_from([MODEL, *(p for p in files() if p.endswith("_config.json"))]),
)
@settings(max_examples=150, deadline=None)
def test_a_changed_description_is_refused_or_describes_a_network(random, value, path):
    """Whatever stands in one place of a description: one of our errors or a network that runs; the same one where the
    graph is the same."""
    good, x = exported("pinned"), torch.linspace(-1, 1, 12).view(2, 6)

    def change(description: object) -> None:
        place, key = somewhere(random, description)
        place[key] = value

    try:
        found = read_program(changed(change, path))
        module = ProgramModule(found.program, found.state, found.constants)
        export(module, x)
        same = program_to_json(found.program) == program_to_json(good.program)
        output = module(x) if same else None
    except MergescopeError:
        return
    if same:
        expected = ProgramModule(good.program, good.state, good.constants)(x)
        assert torch.equal(output, expected)


@given(st.integers(0, 10**6), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_a_changed_byte_is_refused_or_changes_nothing(place, byte):
    data = bytearray(packed(files()))
    data[place % len(data)] = byte
    try:
        found = read_program(bytes(data))
    except MergescopeError:
        return
    good = exported("pinned")
    assert program_to_json(found.program) == program_to_json(good.program)
    assert all(torch.equal(found.state[name], tensor) for name, tensor in good.state.items())
    assert all(torch.equal(found.constants[name], tensor) for name, tensor in good.constants.items())


def test_a_changed_number_of_the_graph_is_another_network_or_refused():
    """A program's numbers are its own: what decides is that they fit each other."""

    def stretch(found: dict) -> None:
        chunk = next(node for node in found["nodes"] if "chunk" in node["target"])
        chunk["inputs"][1]["arg"]["as_int"] = 4

    with pytest.raises(MergescopeError):
        read_program(graph(stretch))


@pytest.mark.parametrize("name", list(CASES)[:: len(CASES) // 4][:5])
def test_hostile_programs_are_refused_through_the_disposable_process(name):
    with pytest.raises(MergescopeError) as refused:
        convert(CASES[name][0])
    assert "ran out of memory or time" not in str(refused.value), "it ended in order, with a reason"
