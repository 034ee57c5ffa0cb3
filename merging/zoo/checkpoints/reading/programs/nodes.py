"""Convert the operations of an exported program from torch's JSON to nodes of a `Program`, without importing any name.

A size may be an expression, stored as text. `signature.py` compares such texts; no text is parsed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from merging.errors import CheckpointError, UnsupportedOperation
from merging.network.programs.json_text import Taker
from merging.network.programs.operators import AGAIN, FLOAT, GETITEM, MEMORY_FORMATS, Argument, Term, operator_of
from merging.network.programs.program import ProgramNode
from merging.zoo.checkpoints.reading.limits import shown

# torch's codes for number types; below, those for layouts (STRIDED) and memory formats (_ORDERS).
TYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64"}
TYPES |= {10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16"}
FLOATS = {"float16", "bfloat16", "float32", "float64"}
STRIDED = 7
_ORDERS = dict(zip((1, 4, 2, 3), MEMORY_FORMATS, strict=True))
_POSITIONAL, _KEYWORD = 1, 2

_NODE = {"target", "inputs", "outputs", "metadata", "is_hop_single_tensor_return", "name"}
_PLAIN = {"as_int": int, "as_bool": bool, "as_string": str, "as_ints": int, "as_bools": bool}
_NAMED = {"as_sym_int": int, "as_sym_float": float, "as_sym_bool": bool}
_UNUSED = {"as_graph", "as_custom_obj", "as_operator", "as_complex", "as_strings", "as_nested_tensors"}
_UNUSED |= {"as_int_lists", "as_float_lists", "as_string_to_argument"}
_CHECKS = (
    "torch.ops.aten._assert",
    "torch.ops.aten.sym_constrain",
)  # assertions on sizes and types, which would restrict a run to those of the example
_SIMPLE = {"torch.sym_float", "torch.sym_int", "torch.sym_not", "torch.sym_max", "torch.sym_min", "math.trunc"}


def only_known(record: dict[str, Any], known: set[str], what: str, version: str) -> None:
    """Raise CheckpointError when a record has a field that is not in `known`. version: the writer's torch version."""
    if unknown := record.keys() - known:
        name = shown(str(min(unknown)))
        raise CheckpointError(
            f"The exported program has the unknown field {name} in its {what}: it was written by torch "
            f"{version or 'of an unknown version'}. Write it with a version that Mergescope is tested with. {AGAIN}"
        )


def float_type(name: str) -> str:
    """Name of a number type in a `Program`: all floating-point types become FLOAT, the network's own type."""
    return FLOAT if name in FLOATS else name.replace("complex128", "complex64")


@dataclass
class NodeReader:
    """Reader of a program's nodes, one after another; it also numbers the module calls.

    Attributes:
        version: torch version that wrote the program.
        calls: module path of each call, in the order of their numbers.
        numbers: (key, path) of a call -> its number.
        take: typed access to the records' fields.
    """

    version: str
    calls: list[str] = field(default_factory=list)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    take: Taker = field(default_factory=lambda: Taker("exported program"))

    def read(self, record: Any, number: int) -> Iterator[ProgramNode]:
        """Yield the node of one record, and a GETITEM node per result if there are several; nothing for a check."""
        target, outputs = self.take(record, "target", str), self.take.items(record, "outputs", dict)
        only_known(record, _NODE, "operations", self.version)
        if target.startswith(_CHECKS) and not outputs:
            return
        name = f"operation_{number}"
        if record.get("name") is not None:
            name = self.take(record, "name", str)
        called = self._target(target, name)
        args, kwargs = self._inputs(record, called, name)
        calls = self._calls(self.take(record, "metadata", dict))
        match operator_of(called, name).gives:
            case "several":
                yield ProgramNode(name, called, args, kwargs, calls)
                for index, part in enumerate(self._parts(outputs)):
                    if part is not None and part != f"{name}_unused_{index}":
                        yield ProgramNode(part, GETITEM, (Term("value", name), index), (), calls)
            case "tensor":
                part = self._one(outputs, "as_tensor")
                yield ProgramNode(self.take(part, "name", str), called, args, kwargs, calls)
            case "number":
                yield ProgramNode(self._number(outputs, name), called, args, kwargs, calls)

    def argument(self, record: Any) -> Argument:
        """Convert an argument from torch's form, a record with one field, whose name is the type."""
        kind, value = self._union(record)
        if kind in ("as_int", "as_bool", "as_string"):
            return self.take(record, kind, _PLAIN[kind])
        if kind in ("as_ints", "as_bools"):
            return tuple(self.take.items(record, kind, _PLAIN[kind]))
        if kind == "as_float":
            return self._float(value)
        if kind == "as_floats":
            return tuple(self._float(item) for item in self.take.items(record, kind, float, int, str))
        if kind == "as_none":
            return None
        if kind == "as_tensor":
            return Term("value", self.take(value, "name", str))
        if kind == "as_tensors":
            return tuple(Term("value", self.take(item, "name", str)) for item in self.take.items(record, kind, dict))
        if kind in ("as_optional_tensor", *_NAMED):
            return self._named(value)
        if kind in ("as_optional_tensors", *(f"{key}s" for key in _NAMED)):
            return tuple(self._named(item) for item in self.take.items(record, kind, dict))
        return self._word(kind, value)

    def _word(self, kind: str, value: Any) -> Term:
        if kind == "as_device":
            return Term("device", "run")
        if kind == "as_scalar_type" and type(value) is int and value in TYPES:
            return Term("dtype", float_type(TYPES[value]))
        if kind == "as_memory_format" and type(value) is int and value in _ORDERS:
            return Term("memory_format", _ORDERS[value])
        if kind == "as_layout" and value == STRIDED:
            return Term("layout", "strided")
        if kind == "as_graph":
            raise UnsupportedOperation(
                "The forward pass switches gradients or precision, or runs a part of the graph conditionally. Remove "
                f"that. {AGAIN}"
            )
        if kind in _UNUSED or kind in ("as_scalar_type", "as_memory_format", "as_layout"):
            raise UnsupportedOperation(
                f"An operation takes {shown(kind)} {shown(str(value)[:40])}, which is not supported. Replace it in "
                "the network and export it again."
            )
        only_known({kind: value}, set(), "arguments", self.version)
        raise self.take.damaged(f"an argument {shown(kind)} is not known")

    def _target(self, target: str, name: str) -> str:
        if target.startswith("torch.ops.aten."):
            return target.removeprefix("torch.ops.")
        if target.startswith("torch.ops.higher_order."):
            self._word("as_graph", None)
        if target.startswith("_operator.") or target in _SIMPLE:
            return target.removeprefix("_")
        raise CheckpointError(
            f"Node {shown(name)} calls {shown(target)}, which is not an operator of a neural network. It "
            "was not run. Replace it in the network and export it again."
        )

    def _inputs(
        self, record: Any, target: str, node: str
    ) -> tuple[tuple[Argument, ...], tuple[tuple[str, Argument], ...]]:
        """Positional and keyword arguments of a node.

        From the first device argument on, all arguments are passed by keyword. An operator with a device argument
        always gets the device of the run.
        """
        expected = operator_of(target, node).positional
        args: list[Argument] = []
        kwargs: dict[str, Argument] = {}
        for item in self.take.items(record, "inputs", dict):
            only_known(item, {"name", "arg", "kind"}, "arguments", self.version)
            name, value = self.take(item, "name", str), self.argument(item.get("arg"))
            kind = item.get("kind")
            if kind not in (_POSITIONAL, _KEYWORD):
                raise self.take.damaged(f"argument {shown(name)} of {shown(node)} is neither positional nor a keyword")
            if kind == _POSITIONAL and (name,) != expected[len(args) + len(kwargs) :][:1]:
                raise self.take.damaged(
                    f"argument {shown(name)} of {shown(node)} is not the argument that its operator expects at this "
                    f"position (written by torch {self.version})"
                )
            if kwargs.keys() & {name}:
                raise self.take.damaged(f"argument {shown(name)} of {shown(node)} is given twice")
            if kind == _POSITIONAL and not kwargs and not (isinstance(value, Term) and value.kind == "device"):
                args.append(value)
            else:
                kwargs[name] = value
        if "device" in operator_of(target, node).types:
            kwargs["device"] = Term("device", "run")
        return tuple(args), tuple(kwargs.items())

    def _parts(self, outputs: list[dict[str, Any]]) -> list[str | None]:
        if len(outputs) == 1 and "as_tensors" in outputs[0]:
            return [self.take(item, "name", str) for item in self.take.items(outputs[0], "as_tensors", dict)]
        parts = [self._union(item) for item in outputs]
        if not all(kind in ("as_tensor", "as_none") for kind, _ in parts):
            raise self.take.damaged("an operation gives something other than tensors")
        return [self.take(value, "name", str) if kind == "as_tensor" else None for kind, value in parts]

    def _one(self, outputs: list[dict[str, Any]], kind: str) -> Any:
        if len(outputs) != 1 or outputs[0].keys() != {kind}:
            raise self.take.damaged("an operation lists other results than its operator returns")
        return outputs[0][kind]

    def _number(self, outputs: list[dict[str, Any]], name: str) -> str:
        kind, value = self._union(outputs[0]) if len(outputs) == 1 else ("", None)
        if kind in ("as_int", "as_float", "as_bool"):
            return name
        if kind not in _NAMED:
            raise self.take.damaged("an operation on sizes gives no number")
        return self.take(value, "as_name", str)  # type: ignore[no-any-return]

    def _named(self, record: Any) -> Argument:
        """Convert an argument that is a value, a number or None."""
        kind, value = self._union(record)
        if kind == "as_name":
            return Term("value", self.take(record, kind, str))
        if kind == "as_tensor":
            return Term("value", self.take(value, "name", str))
        if kind == "as_none":
            return None
        if kind in ("as_int", "as_bool"):
            return self.take(record, kind, _PLAIN[kind])
        if kind == "as_float":
            return self._float(value)
        raise self.take.damaged(f"an argument {shown(kind)} is not known")

    def _union(self, record: Any) -> tuple[str, Any]:
        if not isinstance(record, dict) or len(record) != 1:
            raise self.take.damaged("an argument is not a single value")
        return next(iter(record.items()))

    def _float(self, value: Any) -> float:
        if type(value) is float:
            return value
        if value in ("Infinity", "-Infinity"):
            return math.inf if value == "Infinity" else -math.inf
        raise self.take.damaged(f"{shown(str(value)[:40])} is not a number for an operator")

    def _calls(self, metadata: dict[str, Any]) -> tuple[int, ...]:
        """Numbers of the module calls around a node, from text of the form "key,path,type;key,path,type ..."."""
        text = metadata.get("nn_module_stack", "")
        if not isinstance(text, str) or len(text) > 50_000:
            raise self.take.damaged("the modules around an operation are not a short text")
        numbers: list[int] = []
        for call in text.split(";") if text else ():
            key, path = _first_two(call)
            if path is None:
                raise self.take.damaged("the modules around an operation cannot be read")
            if (key, path) not in self.numbers:
                self.numbers[key, path] = len(self.calls)
                self.calls.append(path)
            numbers.append(self.numbers[key, path])
        return tuple(dict.fromkeys(numbers))


def _first_two(call: str) -> tuple[str, str | None]:
    """Key and path of "key,path,type"; commas in brackets do not separate. The path is None for other text."""
    depth, cuts = 0, []
    for place, letter in enumerate(call):
        depth += (letter in "[(") - (letter in ")]")
        if letter == "," and depth == 0:
            cuts.append(place)
    return (call[: cuts[0]], call[cuts[0] + 1 : cuts[1]]) if len(cuts) == 2 else (call, None)
