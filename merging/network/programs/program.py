"""Programs: a network's graph of operations as a value that holds no weights and no code.

Every program is checked when it is constructed, before any part of it is run: allowed operators, typed arguments,
names, limits. References point backwards only, so a program has no cycles and always ends.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from merging.errors import CheckpointError, UnsupportedOperation
from merging.network.programs.operators import (
    AGAIN,
    DTYPES,
    FLOAT,
    MAX_LIST,
    MEMORY_FORMATS,
    WORD,
    Argument,
    Result,
    Term,
    check_types,
    named,
    operator_of,
)

MAX_NODES = 20_000
MAX_TENSORS = 20_000
MAX_NAME = 200
MAX_DIMENSIONS = 8
MAX_NUMBERS = 2**40  # elements per tensor
MAX_NESTING = 3  # depth of lists in an argument
MAX_CALLS = 100  # depth of nested modules

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PATH = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_KEPT = {*dir(nn.Module()), "graph_on", "_program", "_constants", "_parts"}  # reserved: attributes of the module
_VERSION = re.compile(r"[A-Za-z0-9.+_-]{0,60}")
_WORDS = {"dtype": {*DTYPES, FLOAT}, "memory_format": set(MEMORY_FORMATS), "layout": {"strided"}, "device": {"run"}}
_SWITCHES = ("training", "train", "use_input_stats")


@dataclass(frozen=True)
class ProgramTensor:
    """A tensor that a program needs.

    Attributes:
        name: its dotted name.
        kind: "parameter"; "buffer", in the state dict; "constant", any other tensor, never permuted and never averaged.
        shape: its shape.
        dtype: "float" or a key of `DTYPES`.
        same_as: the first name of a tied tensor; "" under that first name, and for tensors that are not tied.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    same_as: str = ""


@dataclass(frozen=True)
class ProgramNode:
    """One operation.

    Attributes:
        name: the name of its value.
        target: the operator, such as "aten.conv2d.default".
        args, kwargs: None, bool, int, float, str, `Term`, or tuples of them.
        calls: indices into `Program.calls` of the module calls around it, outermost first.
    """

    name: str
    target: str
    args: tuple[Argument, ...]
    kwargs: tuple[tuple[str, Argument], ...]
    calls: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """A network without weights and without code. Two programs are equal if their `program_to_json` texts are equal.

    Attributes:
        input: the name of its single input.
        shape: the input's shape without the batch.
        dtype: the input's type, "float" or an integer type.
        nodes: in network order.
        output: the name of the output node.
        tensors: in the order of the state dict, constants last.
        reads: per tensor that the graph reads, its name in the graph and the name of its ProgramTensor (of tied tensors
            the first), in the order of the exported inputs.
        calls: the module path of every module call.
        torch: the torch version that exported it, "" if unknown.

    Raises CheckpointError or UnsupportedOperation where the program is not valid.
    """

    input: str
    shape: tuple[int, ...]
    dtype: str
    nodes: tuple[ProgramNode, ...]
    output: str
    tensors: tuple[ProgramTensor, ...]
    reads: tuple[tuple[str, str], ...]
    calls: tuple[str, ...]
    torch: str = ""

    def __post_init__(self) -> None:
        _check(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        return self  # immutable

    @property
    def state(self) -> tuple[ProgramTensor, ...]:
        """The tensors of a strict state dict; tied tensors appear under all their names."""
        return tuple(tensor for tensor in self.tensors if tensor.kind != "constant")

    @property
    def constants(self) -> tuple[ProgramTensor, ...]:
        """The tensors outside the state dict: tensor attributes, non-persistent buffers, literals."""
        return tuple(tensor for tensor in self.tensors if tensor.kind == "constant")


def _check(program: Program) -> None:
    """Check the whole program.

    Raises CheckpointError for the first invalid entry, or UnsupportedOperation for an operator that is not allowed.
    """
    _require(_VERSION.fullmatch(program.torch) is not None, "torch version", "is not valid")
    _check_tensors(program)
    _check_shape(program.shape, "input")
    _require(program.dtype in {FLOAT, *DTYPES} - {"complex64"}, "input", f"has the type {shown_name(program.dtype)}")
    _require(len(program.calls) <= 4 * MAX_NODES, "list of modules", "is too long")
    for path in program.calls:
        _require(not path or is_path(path), "list of modules", f"contains the invalid path {shown_name(path)}")
    results = _inputs(program)
    count = len(program.nodes)
    _require(count <= MAX_NODES, "graph", f"has {count:,} operations; at most {MAX_NODES:,} are run")
    for node in program.nodes:
        _check_node(node, results, len(program.calls))
    operations = {node.name for node in program.nodes}
    _require(program.output in operations, "output", f"{shown_name(program.output)} is not one of its operations")
    _require(results[program.output] == "tensor", "output", f"{program.output} is not a single tensor")


def is_path(name: str) -> bool:
    """Return whether a text is a dotted name of the form that torch gives to modules and tensors."""
    return len(name) <= MAX_NAME and PATH.fullmatch(name) is not None


def is_identifier(name: str) -> bool:
    """Return whether a text is a name of the form that torch gives to values."""
    return len(name) <= MAX_NAME and IDENTIFIER.fullmatch(name) is not None


def shown_name(text: str) -> str:
    """Return an untrusted name in a form that is safe in a message: printable ASCII, quoted, at most 60 characters."""
    return ascii(text[:60])


def _require(holds: bool, what: str, offence: str) -> None:
    if not holds:
        raise CheckpointError(f"The program is damaged: its {what} {offence}. No part of it was run. {AGAIN}")


def _check_shape(shape: tuple[int, ...], what: str) -> None:
    whole = all(type(size) is int and 0 <= size < 2**40 for size in shape)
    fits = len(shape) <= MAX_DIMENSIONS and whole and math.prod(max(size, 1) for size in shape) <= MAX_NUMBERS
    _require(fits, what, f"has the shape {shape[: MAX_DIMENSIONS + 1]!r:.200}")


def _check_tensors(program: Program) -> None:
    _require(len(program.tensors) <= MAX_TENSORS, "list of tensors", f"has {len(program.tensors):,} entries")
    entries = {tensor.name: tensor for tensor in program.tensors}
    _require(len(entries) == len(program.tensors), "list of tensors", "contains a name twice")
    earlier: set[str] = set()
    for tensor in program.tensors:
        _require(is_path(tensor.name), "tensor", f"is called {shown_name(tensor.name)}, which torch does not allow")
        _require(tensor.kind in ("parameter", "buffer", "constant"), f"tensor {tensor.name}", "is of an unknown kind")
        _require(tensor.dtype in {FLOAT, *DTYPES}, f"tensor {tensor.name}", f"has the type {shown_name(tensor.dtype)}")
        _check_shape(tensor.shape, f"tensor {tensor.name}")
        parts = tensor.name.split(".")
        _require(not _KEPT & {*parts}, f"tensor {tensor.name}", "has a name that torch reserves")
        above = {".".join(parts[:depth]) for depth in range(1, len(parts))}
        _require(not above & entries.keys(), f"tensor {tensor.name}", "has a name inside another tensor's")
        if tensor.same_as:
            first = entries.get(tensor.same_as) if tensor.same_as in earlier else None
            own = (tensor.kind, tensor.shape, tensor.dtype, "")
            same = first is not None and (first.kind, first.shape, first.dtype, first.same_as) == own
            _require(
                same and tensor.kind != "constant",
                f"tensor {tensor.name}",
                f"is tied to {shown_name(tensor.same_as)}, which is not an earlier tensor of the same kind",
            )
        earlier.add(tensor.name)


def _inputs(program: Program) -> dict[str, Result]:
    """Check the names of the input and of the tensors that the graph reads; return each name with the value's kind."""
    entries = {tensor.name: tensor for tensor in program.tensors}
    results: dict[str, Result] = {program.input: "tensor"}
    for placeholder, name in program.reads:
        _require(
            name in entries and not entries[name].same_as, "graph", f"reads {shown_name(name)}, which does not exist"
        )
        _require(placeholder not in results, "graph", f"has two values called {shown_name(placeholder)}")
        results[placeholder] = "tensor"
    for name in results:
        _require(is_identifier(name), "graph", f"has a value with the invalid name {shown_name(name)}")
    return results


def _check_node(node: ProgramNode, results: dict[str, Result], calls: int) -> None:
    """Check one operation and add its result to `results`."""
    _require(is_identifier(node.name), "graph", f"has an operation with the invalid name {shown_name(node.name)}")
    _require(node.name not in results, "graph", f"has two values called {shown_name(node.name)}")
    operator = operator_of(node.target, node.name)
    stack = node.calls
    places = len(stack) <= MAX_CALLS and all(type(call) is int and 0 <= call < calls for call in stack)
    _require(places and len(set(stack)) == len(stack), f"operation {node.name}", "belongs to unknown modules")
    _require(len(dict(node.kwargs)) == len(node.kwargs), f"operation {node.name}", "has an argument twice")
    for argument in (*node.args, *(value for _, value in node.kwargs)):
        _check_argument(argument, node.name, results)
    devices = {key for key, value in (*(("", arg) for arg in node.args), *node.kwargs) if _is_device(value)}
    # Without a device, an operator that takes one would allocate on the CPU in the trial run, which uses no memory.
    wanted = {"device"} & operator.types.keys()
    _require(devices == wanted, f"operation {node.name}", "has a missing or an unexpected device argument")
    try:
        arguments = named(node.target, node.args, dict(node.kwargs))
        check_types(node.target, arguments, results)
    except ValueError as error:
        raise CheckpointError(
            "The program is damaged, or was exported by another version of torch. Operation "
            f"{node.name} ({node.target}): its {error}. No part of it was run. {AGAIN}"
        ) from error
    if _trains(arguments):
        raise UnsupportedOperation(
            f"The network was exported in training mode: {node.name} ({node.target}) drops units at random, or "
            f"normalises by the batch. Call model.eval() first. {AGAIN}"
        )
    results[node.name] = operator.gives


def _is_device(argument: Argument) -> bool:
    return isinstance(argument, Term) and argument.kind == "device"


def _trains(arguments: Mapping[str, Argument]) -> bool:
    """Return whether an operation with these arguments behaves as in training.

    That is, it drops units at random, or normalises by the batch although it has running statistics.
    """
    if arguments.get("dropout_p"):
        return True
    if all(arguments.get(switch) in (None, False) for switch in _SWITCHES):
        return False
    if "running_mean" in arguments:
        return arguments["running_mean"] is not None
    return bool(arguments.get("p", arguments.get("dropout", 1.0)))


def _check_argument(argument: Argument, node: str, results: Mapping[str, Result], depth: int = 0) -> None:
    if isinstance(argument, tuple):
        short = depth < MAX_NESTING and len(argument) <= MAX_LIST
        _require(short, f"operation {node}", "has an argument that is too long or too deep")
        for item in argument:
            _check_argument(item, node, results, depth + 1)
    elif isinstance(argument, Term):
        if argument.kind == "value":
            offence = f"reads {shown_name(argument.text)}, which comes later or never"
            _require(argument.text in results, f"operation {node}", offence)
        else:
            is_word = argument.text in _WORDS.get(argument.kind, ())
            _require(is_word, f"operation {node}", f"contains the unknown name {shown_name(argument.text)}")
    elif type(argument) is int:
        _require(-(2**63) <= argument < 2**63, f"operation {node}", "has a number of more than 64 bits")
    elif type(argument) is float:
        _require(not math.isnan(argument), f"operation {node}", "has an argument that is NaN")
    elif type(argument) is str:
        _require(WORD.fullmatch(argument) is not None, f"operation {node}", "has a string that no operator accepts")
    else:
        _require(argument is None or type(argument) is bool, f"operation {node}", "has an argument of an unknown type")
