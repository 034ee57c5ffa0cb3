"""Signature of an exported program: its version, its only input, its only output, and the tensors that it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from merging.errors import CheckpointError, UnsupportedOperation
from merging.network.programs.json_text import Taker
from merging.network.programs.operators import AGAIN
from merging.zoo.checkpoints.reading.limits import shown
from merging.zoo.checkpoints.reading.programs.nodes import TYPES, float_type, only_known

SCHEMA = 8  # the major version of torch's format that is read
_FREE = re.compile(r"Symbol\('\w{1,20}'(, \w{1,20}=(True|False)){0,9}\)")  # torch's text for a free size
_ONE_TENSOR = '[1,{"type":null,"context":null,"children_spec":[]}]'  # torch's text for an output of one tensor
_TOP = {"graph_module", "opset_version", "range_constraints", "schema_version", "verifiers", "torch_version"}
_TOP |= {"guards_code"}
_MODULE = {"graph", "signature", "module_call_graph", "metadata", "treespec_namedtuple_fields"}
_GRAPH = {"inputs", "outputs", "nodes", "tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values"}
_GRAPH |= {"is_single_tensor_return", "custom_obj_values"}
_TENSORS = ("parameter", "buffer", "tensor_constant")
_OTHERS = ("custom_obj", "token", "constant_input")

take = Taker("exported program")


@dataclass(frozen=True)
class Signature:
    """Inputs and output of a program.

    Attributes:
        version: torch version that wrote the program.
        x: name of the input value.
        shape: shape of the input, without the batch dimension.
        dtype: number type of the input.
        output: name of the output value.
        tensors: name of each other input value -> (kind, name) of its tensor.
    """

    version: str
    x: str
    shape: tuple[int, ...]
    dtype: str
    output: str
    tensors: Mapping[str, tuple[str, str]]


def signature_of(whole: Any) -> Signature:
    """Read the signature in a program's JSON.

    Raises:
        CheckpointError: when the format is not read, or the batch size is fixed.
        UnsupportedOperation: when the program's input or its output is not exactly one tensor.
    """
    version = _version(whole)
    module = take(whole, "graph_module", dict)
    only_known(module, _MODULE, "module", version)
    graph = take(module, "graph", dict)
    only_known(graph, _GRAPH, "graph", version)
    x, tensors = _inputs(take(module, "signature", dict), version)
    output = _output(module, graph)
    return Signature(version, x, *_input(x, take(graph, "tensor_values", dict)), output, tensors)


def stated(meta: Any) -> tuple[list[int | str], str]:
    """Sizes and number type of a value according to the file; a size is a number or the text of an expression."""
    sizes: list[int | str] = []
    for size in take.items(meta, "sizes", dict):
        expression = size.get("as_expr")
        if isinstance(expression, dict):
            sizes.append(take(expression, "expr_str", str))
        else:
            sizes.append(take(size, "as_int", int))
    kind = TYPES.get(take(meta, "dtype", int))
    if kind is None:
        raise UnsupportedOperation(f"The network computes with a number type that is not supported ({meta['dtype']}).")
    return sizes, float_type(kind)


def _version(whole: Any) -> str:
    text = whole.get("torch_version") if isinstance(whole, dict) else None
    version = text if isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9.+_-]{1,60}", text) else ""
    major = take(take(whole, "schema_version", dict), "major", int)
    if major != SCHEMA:
        raise CheckpointError(
            f"The exported program has format {shown(str(major))}, written by torch {version or '(unknown)'}; only "
            f"format {SCHEMA} is read. Export it with the torch version that Mergescope uses. {AGAIN}"
        )
    only_known(whole, _TOP, "program", version)
    return version


def _inputs(record: Any, version: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """Return the name of the input value, and a table: name of each other input value -> (kind, tensor name)."""
    tensors: dict[str, tuple[str, str]] = {}
    inputs: list[str] = []
    for spec in take.items(record, "input_specs", dict):
        only_known(spec, {"user_input", *_TENSORS, *_OTHERS}, "inputs", version)
        ((kind, entry),) = spec.items() if len(spec) == 1 else (("", None),)
        if kind in _TENSORS:
            value = take(take(entry, "arg", dict), "name", str)
            if value in tensors:
                raise take.damaged(f"two inputs are called {shown(value)}")
            tensor_kind = kind if kind != "buffer" or take(entry, "persistent", bool) else "tensor_constant"
            tensors[value] = tensor_kind, take(entry, f"{kind}_name", str)
        else:
            argument = take(entry, "arg", dict) if kind == "user_input" else {}
            inputs.append(take(argument["as_tensor"], "name", str) if argument.keys() == {"as_tensor"} else "")
    if len(inputs) != 1 or not inputs[0]:
        raise UnsupportedOperation(
            f"The network takes {len(inputs)} inputs, or one that is not a tensor; it must take one tensor whose first "
            f"dimension counts the images. Wrap it in a module whose forward takes only that tensor. {AGAIN}"
        )
    return inputs[0], tensors


def _output(module: Any, graph: Any) -> str:
    """Name of the only output value. Raises UnsupportedOperation unless the output is exactly one tensor."""
    specs = take.items(take(module, "signature", dict), "output_specs", dict)
    if any("mutation" in str(kind) for spec in specs for kind in spec):
        raise UnsupportedOperation(
            "The forward pass changes the network's own tensors, as in training mode or with a counter: the network "
            f"has no fixed weights. Call model.eval() first. {AGAIN}"
        )
    calls: list[Any] = take.items(module, "module_call_graph", dict)
    root: Any = next((call for call in calls if call.get("fqn") == ""), {})
    spec = take(take(root, "signature", dict), "out_spec", str)
    outputs = take.items(graph, "outputs", dict)
    tensor = outputs[0].get("as_tensor") if len(outputs) == 1 else None
    if len(specs) != 1 or not isinstance(tensor, dict) or spec.replace(" ", "") != _ONE_TENSOR:
        raise UnsupportedOperation(
            "The network gives several outputs, a tuple, a list or a dictionary; it must give one tensor (images, "
            f"classes). Wrap it in a module whose forward returns only that tensor. {AGAIN}"
        )
    name: str = take(tensor, "name", str)
    if specs[0] != {"user_output": {"arg": {"as_tensor": {"name": name}}}}:
        raise take.damaged("its signature and its graph give different outputs")
    return name


def _input(x: str, values: Any) -> tuple[tuple[int, ...], str]:
    """The input's shape without the batch, and its number type. Raises CheckpointError when the batch size is fixed."""
    sizes, dtype = stated(take(values, x, dict))
    batch = sizes[0] if sizes else None
    if not isinstance(batch, str) or not _FREE.fullmatch(batch):
        fixed = f"fixed to {batch}" if isinstance(batch, int) else "not free"
        raise CheckpointError(f"The number of images is {fixed} in this program; any number must be possible. {AGAIN}")
    if batch in sizes[1:]:
        raise CheckpointError(f"Another size of the input changes with the number of images. {AGAIN}")
    expressions = [size.get("as_expr") for size in values[x]["sizes"][1:]]
    shape = [  # a free size of the image is taken from the example that the network was exported with
        take(take(expression, "hint", dict), "as_int", int) if isinstance(size, str) else size
        for size, expression in zip(sizes[1:], expressions, strict=True)
    ]
    return tuple(shape), dtype
