"""Programs as JSON text, and functions that validate JSON from untrusted sources field by field."""

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
MAX_TEXT = 64_000_000  # characters per program text
_KINDS = ("value", "dtype", "memory_format", "layout", "device")


def program_to_json(program: Program) -> str:
    """Return the program as compact ASCII JSON; equal programs give equal texts."""
    return _dumped(_written(program))


def program_from_json(text: str) -> Program:
    """Read a program from an untrusted text, and test it in a trial run that computes only shapes.

    Raises:
        CheckpointError: when the text is damaged.
        UnsupportedOperation: when the program cannot be run within the limits.
    """
    if len(text) > MAX_TEXT:
        raise CheckpointError(f"The program has {len(text):,} characters; at most {MAX_TEXT:,} are read.")
    fields = parsed(text, "program")
    take = Taker("program")
    if take(fields, "format", int) != FORMAT:
        raise CheckpointError("The program was written by another version of this software. Import the file again.")
    input_fields = take(fields, "input", dict)
    program = Program(
        take(input_fields, "name", str),
        tuple(take.items(input_fields, "shape", int)),
        take(input_fields, "dtype", str),
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
    """Reads fields of the required types from parsed JSON, or raises CheckpointError.

    what: the name of the file or text, for the error message.
    """

    what: str

    def __call__(self, record: Any, key: str, *kinds: type) -> Any:
        """Return record[key], whose type must be one of `kinds`; a bool does not count as an int."""
        value = record.get(key, _MISSING) if isinstance(record, dict) else _MISSING
        if type(value) not in kinds:
            raise self.damaged(f"{key} is missing or of a wrong type")
        return value

    def items(self, record: Any, key: str, *kinds: type) -> list[Any]:
        """Return record[key], a list whose items must each have one of the types `kinds`."""
        values = self(record, key, list)
        if not all(type(value) in kinds for value in values):
            raise self.damaged(f"{key} contains an item of a wrong type")
        return values  # type: ignore[no-any-return]

    def damaged(self, offence: str) -> CheckpointError:
        """Return the CheckpointError for a damaged text; `offence` says what is wrong."""
        return CheckpointError(f"The {self.what} is damaged: {offence}. No part of it was run. {AGAIN}")


_MISSING = object()


def parsed(text: str | bytes, what: str) -> Any:
    """Parse untrusted JSON. Raises CheckpointError where it is damaged, nested too deeply, or holds NaN or infinity."""

    def refuse(word: str) -> Any:
        raise ValueError(word)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"The {what} is damaged: it is not valid JSON, or nested too deeply. {AGAIN}") from error


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
        raise Taker("program").damaged("a row of one of its tables has a wrong length or wrong types")
    return row
