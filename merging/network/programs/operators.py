"""The operators that a program may call: ATen operators that have a tracing rule, and arithmetic on sizes.

A target is looked up in fixed tables and is never imported from a module, so nothing else can be called. Operators
are excluded if an argument or a result is not a tensor, a number, a string or a number type, or if they write to an
argument other than the first.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch

from merging.errors import CheckpointError, UnsupportedOperation
from merging.network.tracing.rules import RULES

AGAIN = (
    "Export the file again, where x is an example of at least two images: torch.export.save(torch.export.export("
    'model.eval(), (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)), "a.pt2")'
)

FLOAT = "float"  # the network's own floating-point type, which a run may change
DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name) for name in ("bool", "uint8", "int8", "int16", "int32", "int64", "complex64")
}
MEMORY_FORMATS: dict[str, torch.memory_format] = {
    name: getattr(torch, name) for name in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
}
WORD = re.compile(r"[ -~]{0,200}")  # string arguments: printable ASCII
MAX_LIST = 10_000

Result = Literal["tensor", "several", "number"]
Argument = Any  # None, bool, int, float, str, Term, or a tuple of them


@dataclass(frozen=True)
class Term:
    """An argument that is a name.

    Attributes:
        kind: what the name means. "value": the input, a tensor or an earlier node; "dtype": a key of `DTYPES`, or
            "float" for the type that the network is run in; "memory_format": a key of `MEMORY_FORMATS`; "layout":
            always "strided"; "device": always "run".
        text: the name.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Operator:
    """An allowed operator.

    Attributes:
        call: the function to run.
        types: argument -> its type in torch's schema.
        positional: the arguments that can be passed by position.
        required: the arguments without a default.
        gives: whether the result is one tensor, several tensors or a number.
    """

    call: Callable[..., Any]
    types: Mapping[str, str]
    positional: tuple[str, ...]
    required: frozenset[str]
    gives: Result


GETITEM = "operator.getitem"  # selects one of several results
_UNARY: dict[str, Callable[..., Any]] = {
    "operator.neg": operator.neg,
    "math.trunc": math.trunc,
    "torch.sym_float": torch.sym_float,
    "torch.sym_int": torch.sym_int,
    "torch.sym_not": torch.sym_not,
}
_BINARY: dict[str, Callable[..., Any]] = {
    **{f"operator.{name}": getattr(operator, name) for name in ("add", "sub", "mul", "floordiv", "mod", "truediv")},
    **{f"operator.{name}": getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "torch.sym_max": torch.sym_max,
    "torch.sym_min": torch.sym_min,
}
_SIZES = ("sym_size.int", "sym_numel.default")
_SIMPLE: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "number": (bool, int, float),
    "bool": (bool,),
    "str": (str,),
    "Tensor": (),
    "several": (),
    "index": (int,),
}
_NAMING = {"ScalarType": "dtype", "MemoryFormat": "memory_format", "Layout": "layout", "Device": "device"}
_LISTS = {f"List[{kind}]" for kind in ("Tensor", "Optional[Tensor]", "int", "float", "bool")}
_TYPES = {*_SIMPLE, *_NAMING, *_LISTS, "Generator"}  # a generator argument can only be omitted: no Term names one


def operator_of(target: str, node: str) -> Operator:
    """Return the operator of a target such as "aten.conv2d.default".

    node: the name of the calling node, for the error message. Raises UnsupportedOperation for an ATen operator that
    is not allowed, and CheckpointError for any other text.
    """
    entry = _known(target)
    if entry is not None:
        return entry
    parts = target.split(".")
    if parts[0] != "aten" or len(parts) != 3 or not all(re.fullmatch(r"\w{1,100}", part) for part in parts):
        raise CheckpointError(
            f"Node {node} calls {target[:80]!a}, which is not an operator of a neural network. It was not run."
        )
    raise UnsupportedOperation(f"Node {node} calls {target}, {_reason(parts[1])}")


def named(target: str, args: tuple[Argument, ...], kwargs: Mapping[str, Argument]) -> dict[str, Argument]:
    """Return an allowed operator's arguments by name, of any type.

    Raises ValueError where arguments are too many, missing or unknown. The message continues a sentence that ends in
    "its".
    """
    entry = operator_of(target, "")
    if len(args) > len(entry.positional):
        raise ValueError(f"{len(args)} arguments are more than the {len(entry.positional)} that it takes")
    arguments = dict(zip(entry.positional, args, strict=False))
    for name, value in kwargs.items():
        if name in arguments or name not in entry.types:
            raise ValueError(f"argument {name[:60]!a} is given twice or is unknown")
        arguments[name] = value
    if missing := entry.required - arguments.keys():
        raise ValueError(f"argument {min(missing)} is missing")
    return arguments


def check_types(target: str, arguments: Mapping[str, Argument], results: Mapping[str, Result]) -> None:
    """Raise ValueError where an argument has the wrong type. The message continues a sentence that ends in "its".

    Args:
        target: the operator.
        arguments: name -> argument.
        results: the kind of each value that the arguments may refer to.
    """
    types = operator_of(target, "").types
    first = next((name for name, kind in types.items() if kind == "Tensor"), "")
    for name, value in arguments.items():
        # A number may replace a scalar tensor, except as the first tensor argument, which decides the device.
        spread = types[name] == "Tensor" and name != first and type(value) in _SIMPLE["number"]
        if not spread and not _fits(value, types[name], results):
            raise ValueError(f"argument {name} is not of type {types[name]}")


@lru_cache(maxsize=2048)
def _known(target: str) -> Operator | None:
    if target == GETITEM:
        return _simple(operator.getitem, {"a": "several", "b": "index"}, "tensor")
    if target in _UNARY:
        return _simple(_UNARY[target], {"x" if target == "math.trunc" else "a": "number"}, "number")
    if target in _BINARY:
        return _simple(_BINARY[target], {"a": "number", "b": "number"}, "number")
    space, _, rest = target.partition(".")
    name, _, overload = rest.partition(".")
    base = name if name.startswith("_") else name.rstrip("_")
    if space != "aten" or not (base in RULES or f"{base}.{overload}" in RULES or rest in _SIZES):
        return None
    packet = getattr(torch.ops.aten, name, None)
    if packet is None or overload not in packet.overloads() or overload.startswith("prim"):
        return None  # prim overloads take unchecked type numbers and can crash the process
    call = getattr(packet, overload)
    arguments = call._schema.arguments
    types = {argument.name: str(argument.real_type) for argument in arguments}
    writes = [argument.alias_info is not None and argument.alias_info.is_write for argument in arguments[1:]]
    gives = "number" if rest in _SIZES else _gives([str(one.real_type) for one in call._schema.returns])
    if gives is None or any(writes) or not {_needed(kind) for kind in types.values()} <= _TYPES:
        return None
    positional = tuple(argument.name for argument in arguments if not argument.kwarg_only)
    required = frozenset(argument.name for argument in arguments if not argument.has_default_value())
    return Operator(call, types, positional, required, gives)


def _simple(call: Callable[..., Any], types: dict[str, str], gives: Result) -> Operator:
    return Operator(call, types, tuple(types), frozenset(types), gives)


def _gives(returns: list[str]) -> Result | None:
    if returns == ["Tensor"]:
        return "tensor"
    return "several" if returns and {*returns} <= {"Tensor", "List[Tensor]"} else None


def _needed(kind: str) -> str:
    return kind[len("Optional[") : -1] if kind.startswith("Optional[") else kind


def _fits(value: Argument, kind: str, results: Mapping[str, Result]) -> bool:
    """Return whether a value may be passed where the schema says `kind`."""
    if kind.startswith("Optional["):
        return value is None or _fits(value, _needed(kind), results)
    if kind.startswith("List["):
        inner = kind[len("List[") : -1]
        if isinstance(value, tuple):
            return len(value) <= MAX_LIST and all(_fits(item, inner, results) for item in value)
        return inner in ("int", "float") and _fits(value, inner, results)  # 3 stands for (3, 3)
    if isinstance(value, Term) and value.kind == "value":
        result = results.get(value.text)
        if kind in ("int", "float", "number", "bool"):
            return result == "number"
        return result == "several" if kind == "several" else kind == "Tensor" and result in ("tensor", "number")
    if isinstance(value, Term):
        return _NAMING.get(kind) == value.kind
    return type(value) in _SIMPLE.get(kind, ()) and (type(value) is not str or WORD.fullmatch(value) is not None)


def _reason(name: str) -> str:
    if name.startswith(("empty", "new_empty", "from_file", "set_", "resize", "as_strided")):
        return "which reads raw memory or files. It is not run; replace it in the network."
    if name in ("convolution", "native_batch_norm") or name.startswith(("_native_batch_norm", "native_")):
        return f"which run_decompositions() creates. Export the network without it. {AGAIN}"
    return (
        "which has no rule in merging/network/tracing/rules. Replace it in the network, or add a rule there, and "
        "export it again."
    )
