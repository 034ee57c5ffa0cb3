"""Programs as JSON text, and JSON from anywhere read field by field."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from merging.errors import CheckpointError
from merging.network.programs.graph import trial
from merging.network.programs.operators import AGAIN, Argument, Term
from merging.network.programs.program import Program, ProgramNode, ProgramTensor

FORMAT = 1
MAX_TEXT = 64_000_000  # characters of a program as text
_KINDS = ("value", "dtype", "memory_format", "layout", "device")


def program_to_json(program: Program) -> str:
    """The program as compact JSON in ASCII; the same for the same program."""
    return _dumped(_written(program))


def program_from_json(text: str) -> Program:
    """The program of a text that may come from anywhere, tried on shapes alone.

    Raises CheckpointError where it is damaged, UnsupportedOperation where it cannot be run within the bounds.
    """
    if len(text) > MAX_TEXT:
        raise CheckpointError(f"The program has {len(text):,} characters; at most {MAX_TEXT:,} are read.")
    fields = parsed(text, "program")
    take = Taker("program")
    if take(fields, "format", int) != FORMAT:
        raise CheckpointError("The program was written by another version of this software. Bring the file again.")
    given = take(fields, "input", dict)
    program = Program(
        take(given, "name", str),
        tuple(take.items(given, "shape", int)),
        take(given, "dtype", str),
        tuple(_node(row) for row in take.items(fields, "nodes", list)),
        take(fields, "output", str),
        tuple(_tensor(row) for row in take.items(fields, "tensors", list)),
        tuple((_row(pair, str, str)[0], pair[1]) for pair in take.items(fields, "reads", list)),
        tuple(take.items(fields, "calls", str)),
        take(fields, "torch", str),
    )
    trial(program)
    return program


@dataclass(frozen=True)
class Taker:
    """Fields out of parsed JSON, of the types that they must have. what: whose, in the message of CheckpointError."""

    what: str

    def __call__(self, record: Any, key: str, *kinds: type) -> Any:
        """record[key], which must be of one of these types; a bool is no int."""
        value = record.get(key, _MISSING) if isinstance(record, dict) else _MISSING
        if type(value) not in kinds:
            raise self.damaged(f"{key} is missing or of a wrong type")
        return value

    def items(self, record: Any, key: str, *kinds: type) -> list[Any]:
        """record[key], a list whose items are of these types."""
        values = self(record, key, list)
        if not all(type(value) in kinds for value in values):
            raise self.damaged(f"{key} holds something of a wrong type")
        return values  # type: ignore[no-any-return]

    def damaged(self, offence: str) -> CheckpointError:
        """The error that says so."""
        return CheckpointError(f"The {self.what} is damaged: {offence}. Nothing of it was run. {AGAIN}")


_MISSING = object()


def parsed(text: str | bytes, what: str) -> Any:
    """JSON from anywhere. Raises CheckpointError where it is damaged, too deep, or holds what is no number."""

    def refuse(word: str) -> Any:
        raise ValueError(word)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"The {what} is damaged: it is no JSON text, or is too deep. {AGAIN}") from error


def _dumped(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _written(program: Program) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "torch": program.torch,
        "input": {"name": program.input, "shape": program.shape, "dtype": program.dtype},
        "output": program.output,
        "reads": program.reads,
        "calls": program.calls,
        "tensors": [[t.name, t.kind, t.shape, t.dtype, t.same_as] for t in program.tensors],
        "nodes": [
            [n.name, n.target, _spelled(n.args), {key: _spelled(value) for key, value in n.kwargs}, n.calls]
            for n in program.nodes
        ],
    }


def _spelled(argument: Argument) -> Any:
    if isinstance(argument, tuple):
        return [_spelled(item) for item in argument]
    if isinstance(argument, Term):
        return {argument.kind: argument.text}
    if isinstance(argument, float) and math.isinf(argument):
        return {"infinity": 1 if argument > 0 else -1}
    return argument


def _argument(spelled: Any, depth: int = 0) -> Argument:
    if isinstance(spelled, list) and depth < 8:
        return tuple(_argument(item, depth + 1) for item in spelled)
    if isinstance(spelled, dict):
        ((kind, text),) = spelled.items() if len(spelled) == 1 else (("", None),)
        if kind in _KINDS and isinstance(text, str):
            return Term(kind, text)
        if kind == "infinity" and text in (1, -1) and type(text) is int:
            return math.inf * text
    if isinstance(spelled, (list, dict)):
        raise Taker("program").damaged("an operation has an argument of an unknown type")
    return spelled


def _node(row: list[Any]) -> ProgramNode:
    name, target, args, kwargs, calls = _row(row, str, str, list, dict, list)
    named: Mapping[str, Any] = kwargs
    return ProgramNode(
        name, target, _argument(args), tuple((key, _argument(value)) for key, value in named.items()), tuple(calls)
    )


def _tensor(row: list[Any]) -> ProgramTensor:
    name, kind, shape, dtype, same_as = _row(row, str, str, list, str, str)
    return ProgramTensor(name, kind, tuple(shape), dtype, same_as)


def _row(row: list[Any], *kinds: Callable[..., Any]) -> list[Any]:
    if [type(item) for item in row] != list(kinds):
        raise Taker("program").damaged("a row of its tables is too short or of wrong types")
    return row
