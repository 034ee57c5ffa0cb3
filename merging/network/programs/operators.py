"""The operators that a program may call: those of ATen that tracing has a rule for, and arithmetic on sizes.

Nothing else can be named: a target is looked up in these two tables, never followed into a module. An operator that
takes or gives anything but tensors, numbers, words and number types is left out, and so is one that writes to more than
its first tensor.
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
    "Write the file again, with x an example of at least two images: torch.export.save(torch.export.export("
    'model.eval(), (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)), "a.pt2")'
)

FLOAT = "float"  # the network's own floating-point type, whatever it is run in
DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name) for name in ("bool", "uint8", "int8", "int16", "int32", "int64", "complex64")
}
MEMORY_FORMATS: dict[str, torch.memory_format] = {
    name: getattr(torch, name) for name in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
}
WORD = re.compile(r"[ -~]{0,200}")  # an argument that is text: printable ASCII
MAX_LIST = 10_000

Result = Literal["tensor", "several", "number"]
Argument = Any  # None, bool, int, float, str, Term, or a tuple of them


@dataclass(frozen=True)
class Term:
    """What an argument names.

    kind: "value", the input, a tensor or an earlier node; "dtype", a key of `DTYPES` or "float", the type that the
    network is run in; "memory_format", a key of `MEMORY_FORMATS`; "layout", always "strided"; "device", always "run".
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Operator:
    """An allowed operator. types: argument -> its type in torch's words.  positional: those that can be given by place.
    required: those without a default.  gives: one tensor, several, or a number."""

    call: Callable[..., Any]
    types: Mapping[str, str]
    positional: tuple[str, ...]
    required: frozenset[str]
    gives: Result


GETITEM = "operator.getitem"  # one of several results
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
_TYPES = {*_SIMPLE, *_NAMING, *_LISTS, "Generator"}  # a generator can only be left out: no Term names one


def operator_of(target: str, node: str) -> Operator:
    """The operator of a target such as "aten.conv2d.default". node: who calls it, for the message.

    Raises UnsupportedOperation for an operator of ATen that cannot be followed, and CheckpointError for any other text.
    """
    known = _known(target)
    if known is not None:
        return known
    parts = target.split(".")
    if parts[0] != "aten" or len(parts) != 3 or not all(re.fullmatch(r"\w{1,100}", part) for part in parts):
        raise CheckpointError(
            f"Node {node} calls {target[:80]!a}, which is no operator that a network is made of. It was not run."
        )
    raise UnsupportedOperation(f"Node {node} calls {target}, {_reason(parts[1])}")


def named(target: str, args: tuple[Argument, ...], kwargs: Mapping[str, Argument]) -> dict[str, Argument]:
    """An allowed operator's arguments by name, of any type.

    Raises ValueError, in words that follow "its", where they are too many, too few or unknown.
    """
    known = operator_of(target, "")
    if len(args) > len(known.positional):
        raise ValueError(f"arguments are {len(args)}; it takes {len(known.positional)}")
    found = dict(zip(known.positional, args, strict=False))
    for name, value in kwargs.items():
        if name in found or name not in known.types:
            raise ValueError(f"argument {name[:60]!a} is given twice or is unknown")
        found[name] = value
    if missing := known.required - found.keys():
        raise ValueError(f"argument {min(missing)} is missing")
    return found


def check_types(target: str, arguments: Mapping[str, Argument], results: Mapping[str, Result]) -> None:
    """Raise ValueError, in words that follow "its", where an argument is of the wrong type. results: what each known
    value is."""
    types = operator_of(target, "").types
    first = next((name for name, kind in types.items() if kind == "Tensor"), "")
    for name, value in arguments.items():
        # A number may stand for a tensor of no dimensions beside another tensor, which says where the result is made.
        spread = types[name] == "Tensor" and name != first and type(value) in _SIMPLE["number"]
        if not spread and not _fits(value, types[name], results):
            raise ValueError(f"argument {name} is no {types[name]}")


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
        return None  # the last are for scripts, whose number types are unchecked numbers: they crash the process
    call = getattr(packet, overload)
    arguments = call._schema.arguments
    types = {argument.name: str(argument.real_type) for argument in arguments}
    written = [argument.alias_info is not None and argument.alias_info.is_write for argument in arguments[1:]]
    gives = "number" if rest in _SIZES else _gives([str(one.real_type) for one in call._schema.returns])
    if gives is None or any(written) or not {_needed(kind) for kind in types.values()} <= _TYPES:
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
    """Whether a value may be given where the schema says `kind`."""
    if kind.startswith("Optional["):
        return value is None or _fits(value, _needed(kind), results)
    if kind.startswith("List["):
        inner = kind[len("List[") : -1]
        if isinstance(value, tuple):
            return len(value) <= MAX_LIST and all(_fits(item, inner, results) for item in value)
        return inner in ("int", "float") and _fits(value, inner, results)  # 3 for (3, 3)
    if isinstance(value, Term) and value.kind == "value":
        given = results.get(value.text)
        if kind in ("int", "float", "number", "bool"):
            return given == "number"
        return given == "several" if kind == "several" else kind == "Tensor" and given in ("tensor", "number")
    if isinstance(value, Term):
        return _NAMING.get(kind) == value.kind
    return type(value) in _SIMPLE.get(kind, ()) and (type(value) is not str or WORD.fullmatch(value) is not None)


def _reason(name: str) -> str:
    if name.startswith(("empty", "new_empty", "from_file", "set_", "resize", "as_strided")):
        return "which takes memory or files as they are. It is not run: replace it in the network."
    if name in ("convolution", "native_batch_norm") or name.startswith(("_native_batch_norm", "native_")):
        return f"which run_decompositions() makes. Export the network without it. {AGAIN}"
    return (
        "which has no rule in merging/network/tracing/rules. Replace it in the network, or add a rule there, and "
        "export it again."
    )
