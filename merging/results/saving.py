"""Save and load results as a zip of JSON and arrays. The same value always gives the same bytes."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

from merging.errors import MergescopeError
from merging.results.reports import (
    Barrier,
    LayerInfo,
    LayerUnits,
    LossCurve,
    MergeReport,
    Metrics,
    PathPoints,
    SimilarityMap,
    TrainReport,
    UnitPicture,
)

# Errors that zipfile, zlib, json and numpy raise for bytes that are truncated, altered or not a saved result.
_DAMAGE = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, RuntimeError, OSError, EOFError)
_SAVED = (
    Metrics,
    Barrier,
    LossCurve,
    PathPoints,
    SimilarityMap,
    LayerUnits,
    LayerInfo,
    UnitPicture,
    MergeReport,
    TrainReport,
)
_KINDS: dict[str, type] = {kind.__name__: kind for kind in _SAVED}
V = TypeVar("V", bound=type)


def saved(kind: V) -> V:
    """Class decorator that registers a dataclass from another file (such as a study's result) for `save` and `load`."""
    _KINDS[kind.__name__] = kind
    return kind


def save(value: Any) -> bytes:
    """Serialise a result as a zip of `value.json` and one `.npy` per array."""
    arrays: list[np.ndarray] = []
    text = json.dumps(_plain(value, arrays), allow_nan=True)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        _write(archive, "value.json", text.encode())
        for number, array in enumerate(arrays):
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            _write(archive, f"{number}.npy", buffer.getvalue())
    return out.getvalue()


def load(data: bytes) -> Any:
    """Read a value that `save` wrote. Raises MergescopeError if the bytes are damaged or not a saved result."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays = _Arrays(archive)
            return _value(json.loads(archive.read("value.json")), arrays)
    except _DAMAGE as error:
        raise MergescopeError(
            f"This is not a saved result of this version ({error}). Compute the result again."
        ) from error


def to_json(value: Any) -> str:
    """Convert a result to JSON for other programs: a line per field, arrays as lists, and NaN as null."""
    listed = _listed(value)
    if not isinstance(listed, dict):
        return json.dumps(listed, allow_nan=False)
    lines = (f" {json.dumps(key)}: {json.dumps(item, allow_nan=False)}" for key, item in listed.items())
    return "{\n" + ",\n".join(lines) + "\n}"  # with json's own indent, each number would take a line and much time


class _Arrays:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def __getitem__(self, number: int) -> np.ndarray:
        return np.load(io.BytesIO(self.archive.read(f"{number}.npy")), allow_pickle=False)


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))  # fixed, so that the bytes depend on the value alone
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data)


def _plain(value: Any, arrays: list[np.ndarray]) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {"is": type(value).__name__, **{f.name: _plain(getattr(value, f.name), arrays) for f in fields(value)}}
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"is": "array", "number": len(arrays) - 1}
    if isinstance(value, tuple):
        return {"is": "tuple", "items": [_plain(item, arrays) for item in value]}
    if isinstance(value, dict):
        return {"is": "dict", "items": {str(key): _plain(item, arrays) for key, item in value.items()}}
    if isinstance(value, list):
        return [_plain(item, arrays) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _value(plain: Any, arrays: _Arrays) -> Any:
    if isinstance(plain, list):
        return [_value(item, arrays) for item in plain]
    if not isinstance(plain, dict):
        return plain
    kind = plain["is"]
    if kind == "array":
        return arrays[plain["number"]]
    if kind == "tuple":
        return tuple(_value(item, arrays) for item in plain["items"])
    if kind == "dict":
        return {key: _value(item, arrays) for key, item in plain["items"].items()}
    return _KINDS[kind](**{key: _value(item, arrays) for key, item in plain.items() if key != "is"})


def _listed(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _listed(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, np.ndarray):
        plain = value.dtype.kind in "biu" or (value.dtype.kind == "f" and bool(np.isfinite(value).all()))
        return value.tolist() if plain else _listed(value.tolist())
    if isinstance(value, dict):
        return {str(key): _listed(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_listed(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
