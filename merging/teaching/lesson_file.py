"""The file of a lesson: read so that it neither blocks nor takes long, with ordinary values only."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from merging.errors import InvalidSetting

LARGEST = 200_000  # bytes of a file
MOST_DOTS = 50  # in a line: the time to parse a key grows with the square of its parts
LARGEST_NUMBER = 1e12
DEEPEST = 10  # tables and lists within each other
KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "str": (str, "a text"),
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "Mapping[str, Any]": (Mapping, "a table"),
}


def read_values(file: Path) -> dict[str, Any]:
    """The values in a TOML file. Raises OSError, ValueError for what is no TOML, and InvalidSetting."""
    with open(file, "rb", opener=_open_at_once) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise InvalidSetting("it is a device, a pipe or a socket, not a file")
        data = opened.read(LARGEST + 1) or b""  # None where a file of the system has nothing to read yet
    if len(data) > LARGEST:
        raise InvalidSetting(f"it is larger than {LARGEST:,} bytes")
    text = data.decode("utf-8")
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MOST_DOTS:
            raise InvalidSetting(f"line {number} has more than {MOST_DOTS} dots; break it into shorter lines")
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise InvalidSetting("its values are nested too deeply") from None
    _check_values("", values, 0)
    return values


def mapping_of(name: str, value: Any) -> dict[str, Any]:
    """A copy of a table. Raises InvalidSetting if the value is none."""
    if not isinstance(value, Mapping):
        raise InvalidSetting(f"{name} must be a table")
    return dict(value)


def checked_fields(declared: type, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values, if all are fields of the class and of their kinds, and none is missing. Raises InvalidSetting."""
    known = {one.name: one for one in fields(declared)}
    for name, value in values.items():
        if name not in known:
            raise InvalidSetting(f"there is no {name!r}; known: {', '.join(known)}")
        kind, words = KINDS.get(str(known[name].type), (object, ""))
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not object):
            raise InvalidSetting(f"{name} must be {words}")
    for name, one in known.items():
        if name not in values and one.default is MISSING and one.default_factory is MISSING:
            raise InvalidSetting(f"{name!r} is missing")
    return values


def _open_at_once(path: str, flags: int) -> int:
    """Opener that does not wait for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_values(name: str, value: Any, depth: int) -> None:
    """Raise InvalidSetting for numbers and nesting that no lesson needs, and that figures or widgets cannot show."""
    if depth > DEEPEST:
        raise InvalidSetting("its values are nested too deeply")
    if isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        raise InvalidSetting(f"{name!r} must lie between {-LARGEST_NUMBER:g} and {LARGEST_NUMBER:g}")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_values(key, inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_values(name, inner, depth + 1)
