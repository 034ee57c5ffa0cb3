"""Programs as nodes for the interpreter, and a trial run that computes only shapes, before the first run on data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx import Node

from merging.errors import UnsupportedOperation
from merging.network.graph import interpreter
from merging.network.programs.operators import DTYPES, FLOAT, MEMORY_FORMATS, Argument, Term, named, operator_of
from merging.network.programs.program import Program, ProgramNode, ProgramTensor

IMAGES = 2  # batch size of the trial
MAX_BYTES = 2_000_000_000  # per value, for IMAGES images
MAX_PIECES = 100_000
# Errors that operators raise for unsuitable arguments, on the meta device too.
FAILURES = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AssertionError, AttributeError)


@dataclass(frozen=True)
class Trial:
    """Shapes and types of every value of a program, for two images.

    Attributes:
        shapes: value -> its shape, a list of shapes, or the value itself if it is a number.
        dtypes: value -> number type, for tensors.
        writes_input: whether an operation changes the input in place.
    """

    shapes: Mapping[str, Any]
    dtypes: Mapping[str, torch.dtype]
    writes_input: bool


@lru_cache(maxsize=64)
def nodes_of(program: Program, floating: torch.dtype) -> tuple[Node, ...]:
    """Return the program's operations as torch.fx nodes.

    floating: the network's own floating-point type, which replaces "float".
    """
    graph = fx.Graph()
    values: dict[str, Node] = {}
    for name in (*(placeholder for placeholder, _ in program.reads), program.input):
        values[name] = graph.placeholder(name)
        values[name].name = name  # torch.fx renames values that clash with Python's own names, such as `input`
    for node in program.nodes:
        args = tuple(_filled(argument, values, floating) for argument in node.args)
        kwargs = {key: _filled(argument, values, floating) for key, argument in node.kwargs}
        operation = graph.create_node("call_function", operator_of(node.target, node.name).call, args, kwargs)
        operation.name = node.name
        operation.meta["nn_module_stack"] = {str(call): (program.calls[call], "") for call in node.calls}
        values[node.name] = operation
    graph.output((values[program.output],))
    return tuple(node for node in graph.nodes if node.op == "call_function")


@lru_cache(maxsize=64)
def steps_of(program: Program, floating: torch.dtype) -> tuple[interpreter.Step, ...]:
    """Return the program's operations as steps for the interpreter."""
    return interpreter.steps(nodes_of(program, floating), program.output)


@lru_cache(maxsize=64)
def trial(program: Program) -> Trial:
    """Run the program for two images on the meta device, where tensors have shapes but no values.

    Raises:
        UnsupportedOperation: when an operation does not fit its arguments, a value would be larger than 2 GB, or a
            weight is changed in place.
    """
    weights = {name: _empty(tensor) for name, tensor in _entries(program).items()}
    values: dict[str, Any] = {placeholder: weights[name] for placeholder, name in program.reads}
    x = values[program.input] = torch.empty((IMAGES, *program.shape), dtype=_dtype(program.dtype), device="meta")
    before = {name: tensor._version for name, tensor in weights.items()}
    started = x._version
    shapes: dict[str, Any] = {name: interpreter.shape_of(value) for name, value in values.items()}
    dtypes = {name: value.dtype for name, value in values.items()}
    _run(program, values, shapes, dtypes)
    if changed := [name for name, tensor in weights.items() if tensor._version != before[name]]:
        raise UnsupportedOperation(
            f"The forward pass changes {changed[0]} in place, even in eval mode, so the network has no fixed weights."
        )
    return Trial(shapes, dtypes, x._version != started)


def _run(program: Program, values: dict[str, Any], shapes: dict[str, Any], dtypes: dict[str, torch.dtype]) -> None:
    """Run the trial and fill `shapes` and `dtypes` value by value, checking each value's size."""
    nodes = {node.name: node for node in program.nodes}
    order = iter(program.nodes)
    last = next(order).name
    walk = interpreter.walk(steps_of(program, torch.float32), values, torch.device("meta"), set(nodes))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings concern the author of the exported network
            _check_before(program.nodes[0], shapes)
            for name, value in walk:
                _check_value(name, value)
                shapes[name] = interpreter.shape_of(value)
                if isinstance(value, Tensor):
                    dtypes[name] = value.dtype
                following = next(order, None)
                if following is not None:
                    last = following.name
                    _check_before(following, shapes)
    except FAILURES as error:
        shape = (IMAGES, *program.shape)
        raise UnsupportedOperation(
            f"Operation {last} ({nodes[last].target}) does not accept its arguments, for an input of shape {shape}: "
            f"{shortened(error)}"
        ) from error


def shortened(error: Exception) -> str:
    """Return an operator's error message on one line, cut to 300 characters."""
    text = " ".join(str(error).split("\n\n")[0].split())[:300]
    return text + ("" if text.endswith(".") else ".")


def _check_before(node: ProgramNode, shapes: Mapping[str, Any]) -> None:
    """Check limits of an operation that torch itself does not check.

    Splitting a dimension of a million indices would create a million tensors. For `_weight_norm`, torch does not check
    the size of `g`, the vector of lengths, and would read beyond its end.
    """
    if operator_of(node.target, node.name).gives == "several":
        sizes = [size for arg in node.args if isinstance(arg, Term) for size in shapes.get(arg.text, ())]
        sizes += [arg for arg in node.args if type(arg) is int]
        if any(isinstance(size, int) and size > MAX_PIECES for size in sizes):
            raise UnsupportedOperation(
                f"Operation {node.name} ({node.target}) cuts a value into more than {MAX_PIECES:,} pieces."
            )
    elif node.target == "aten._weight_norm.default":
        arguments = named(node.target, node.args, dict(node.kwargs))
        whole, lengths = (shapes.get(getattr(arguments[key], "text", ""), ()) for key in ("v", "g"))
        dim = arguments.get("dim", 0)
        kept = [size if place == dim else 1 for place, size in enumerate(whole)]
        if type(dim) is not int or (dim in (0, len(whole) - 1) and list(lengths) != kept):
            raise UnsupportedOperation(
                f"Operation {node.name} ({node.target}) has lengths of shape {lengths}; the shape must be {kept}."
            )


def _check_value(name: str, value: Any) -> None:
    for tensor in value if isinstance(value, (tuple, list)) else [value]:
        if isinstance(tensor, Tensor):
            if tensor.device.type != "meta":
                raise UnsupportedOperation(
                    f"The value {name} would be created on {tensor.device}, wherever the network runs. Replace the "
                    "operation that creates it."
                )
            size = tensor.numel() * tensor.element_size()
            if size > MAX_BYTES:
                raise UnsupportedOperation(
                    f"The value {name} would need {size / 1e9:,.1f} GB for {IMAGES} images; at most "
                    f"{MAX_BYTES / 1e9:.0f} GB are allowed per value."
                )
        elif isinstance(tensor, int) and not -(2**63) <= tensor < 2**63:
            raise UnsupportedOperation(f"The value {name} is a number of more than 64 bits.")
        elif isinstance(tensor, float) and not math.isfinite(tensor):
            raise UnsupportedOperation(f"The value {name} is not a finite number.")


def _entries(program: Program) -> dict[str, ProgramTensor]:
    read = {name for _, name in program.reads}
    return {tensor.name: tensor for tensor in program.tensors if tensor.name in read}


def _empty(tensor: ProgramTensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=_dtype(tensor.dtype), device="meta")


def _dtype(name: str, floating: torch.dtype = torch.float32) -> torch.dtype:
    return floating if name == FLOAT else DTYPES[name]


def _filled(argument: Argument, values: Mapping[str, Node], floating: torch.dtype) -> Any:
    """Return an argument in the form that the operator takes."""
    if isinstance(argument, tuple):
        return [_filled(item, values, floating) for item in argument]
    if not isinstance(argument, Term):
        return argument
    if argument.kind == "value":
        return values[argument.text]
    if argument.kind == "dtype":
        return _dtype(argument.text, floating)
    if argument.kind == "memory_format":
        return MEMORY_FORMATS[argument.text]
    return torch.strided if argument.kind == "layout" else torch.device("cpu")  # replaced by the device of each run
