"""Registry of request kinds. Each kind is a file in this folder, whose class declares everything about its jobs."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from types import MappingProxyType
from typing import Any, get_type_hints

from merging.errors import InvalidRequest
from merging.jobs import requests
from merging.jobs.requests.base import ModelRef, Request
from merging.jobs.requests.checks import TEXT


@cache
def kinds() -> Mapping[str, type[Request]]:
    """Kind -> its request class, in the order of the file names."""
    table: dict[str, type[Request]] = {}
    for file in sorted(pkgutil.iter_modules(requests.__path__), key=lambda file: file.name):
        module = importlib.import_module(f"{requests.__name__}.{file.name}")
        for value in vars(module).values():
            declared = isinstance(value, type) and issubclass(value, Request) and value is not Request
            if declared and value.__module__ == module.__name__:
                table[value.kind] = value
    return MappingProxyType(table)


def from_json(text: str) -> Request:
    """Read a request that `to_json` wrote. Raises InvalidRequest or InvalidSetting if it is not valid."""
    try:
        values = json.loads(text)
        return _read(kinds()[values.pop("kind")], values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidRequest(
            f"This version of the program cannot read the request ({error}). Submit it again."
        ) from error


def with_names(values: Any, names: Mapping[str, str]) -> Any:
    """Return a copy of a request's JSON values in which each network has its name in `names` (sha256 -> name)."""
    if isinstance(values, list):
        return [with_names(part, names) for part in values]
    if not isinstance(values, dict):
        return values
    copy = {key: with_names(part, names) for key, part in values.items()}
    return copy | {"name": names[copy["sha256"]][:TEXT]} if copy.get("sha256") in names else copy


def nameless(sha256: str) -> str:
    """Name of a network for people who do not know its name."""
    return f"unnamed {sha256[:6]}"


def hashes_and_names(values: Any) -> Iterator[tuple[str, str]]:
    """Yield (sha256, name) of every network in a request's JSON values, in a fixed order."""
    if isinstance(values, dict):
        if isinstance(values.get("sha256"), str):
            yield values["sha256"], str(values.get("name", ""))
        values = [values[key] for key in sorted(values)]
    for value in values if isinstance(values, list) else ():
        yield from hashes_and_names(value)


def _read(kind: type[Request], values: Mapping[str, Any]) -> Request:
    """Build a request of this kind from JSON values, including fields of the types ModelRef and Request."""
    types = _nested_types(kind.kind)
    return kind(**{name: _read_field(types.get(name), value) for name, value in values.items()})


@cache
def _nested_types(key: str) -> Mapping[str, type]:
    """Field of a kind -> its class, for fields that hold a ModelRef or request, or a tuple of them."""
    kind = kinds()[key]
    hints = get_type_hints(kind)
    parts = {field.name: [hints[field.name], *getattr(hints[field.name], "__args__", ())] for field in fields(kind)}
    return {
        name: part
        for name, candidates in parts.items()
        for part in candidates
        if isinstance(part, type) and issubclass(part, (ModelRef, Request))
    }


def _read_field(own: type | None, value: Any) -> Any:
    if own is None or value is None:
        return value
    if isinstance(value, list):
        return tuple(_read_field(own, item) for item in value)
    return ModelRef(**value) if own is ModelRef else _read(own, value)
