"""Read the tensors of an exported program from raw bytes and a table of shapes, strides and offsets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from merging.errors import CheckpointError
from merging.network.programs.json_text import Taker, parsed
from merging.network.programs.operators import AGAIN
from merging.zoo.checkpoints.reading.limits import KEY, MAX_DIMENSIONS, MAX_KEY, MAX_TENSORS, shown
from merging.zoo.checkpoints.reading.programs.nodes import FLOATS, STRIDED, TYPES, only_known

MAX_JSON = 64_000_000  # bytes of one description
MAX_EXPANDED = 256_000_000  # bytes of a constant that repeats its numbers, when it is expanded

_TABLES = {"weights": ("weight", "weights_config"), "constants": ("tensor", "constants_config")}
_ENTRY = {"path_name", "is_param", "use_pickle", "tensor_meta"}
_META = {"dtype", "sizes", "requires_grad", "device", "strides", "storage_offset", "layout"}


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor of the file. strided: a view of its entry's numbers, in the entry's number type and memory order."""

    strided: Tensor
    is_parameter: bool


def read_description(files: Mapping[str, memoryview], path: str, what: str) -> Any:
    """Parse the JSON of an entry. what: its name for messages. Raises CheckpointError when it is missing or invalid."""
    if path not in files:
        raise CheckpointError(f"The exported program lacks {path}, which torch.export.save writes. {AGAIN}")
    if len(files[path]) > MAX_JSON:
        raise CheckpointError(f"{path} has {len(files[path]):,} bytes; at most {MAX_JSON:,} are read.")
    return parsed(bytes(files[path]), what)


def payloads(files: Mapping[str, memoryview], folder: str, model: str, version: str) -> dict[str, StoredTensor]:
    """Read the tensors of a folder: name -> tensor.

    Args:
        files: path in the archive -> content.
        folder: "weights" or "constants".
        model: name of the program in the archive.
        version: torch version that wrote the file.
    Raises:
        CheckpointError: when a tensor is pickled, or when the bytes are not exactly those of the tensors (constants
            may repeat and share their numbers).
    """
    prefix, table = _TABLES[folder]
    if f"data/{folder}/{model}.pt" in files:
        raise CheckpointError(f"The {folder} were written by an older version of torch, as a pickle. {AGAIN}")
    take = Taker(f"table of {folder}")
    table_entries = take(read_description(files, f"data/{folder}/{model}_{table}.json", take.what), "config", dict)
    if len(table_entries) > MAX_TENSORS:
        raise CheckpointError(f"The file holds {len(table_entries):,} {folder}; at most {MAX_TENSORS:,} are read.")
    tensors: dict[str, StoredTensor] = {}
    flats: dict[str, Tensor] = {}
    for name, entry in table_entries.items():
        take = Taker(f"tensor {shown(name)}")
        path = f"data/{folder}/{_path(name, entry, prefix, version)}"
        if path not in files:
            raise CheckpointError(f"{shown(name)} has no values in the file: {path} is missing. {AGAIN}")
        meta = take(entry, "tensor_meta", dict)
        only_known(meta, _META, "tensors", version)
        if path not in flats:  # each entry is read only once, so that tied tensors share their numbers
            flats[path] = _flat(files[path], take, meta)
        strided = _strided(flats[path], take, meta, repeats=folder == "constants")
        tensors[name] = StoredTensor(strided, take(entry, "is_param", bool))
    if folder == "weights":
        _check_sizes(flats, [payload.strided for payload in tensors.values()])
    return tensors


def _path(name: str, entry: Any, prefix: str, version: str) -> str:
    """Name of the entry with a tensor's numbers. Raises CheckpointError for an invalid tensor name or a pickle."""
    if len(name) > MAX_KEY or not KEY.fullmatch(name):
        raise CheckpointError(
            f"The tensor name {shown(name)} is not one that torch makes (letters, digits, _ - and dots, at most "
            f"{MAX_KEY} characters). It was not loaded."
        )
    take = Taker(f"tensor {name}")
    only_known(take({name: entry}, name, dict), _ENTRY, "tensors", version)
    path: str = take(entry, "path_name", str)
    if take(entry, "use_pickle", bool) or not re.fullmatch(rf"{prefix}_\d{{1,9}}", path):
        raise CheckpointError(f"{name} is a pickle or an object, which could run arbitrary code. It was not loaded.")
    return path


def _check_sizes(flats: Mapping[str, Tensor], tensors: Iterable[Tensor]) -> None:
    """Raise CheckpointError unless the tensors in each entry have exactly as many numbers as the entry.

    flats: path of an entry -> all of its numbers.  tensors: views of them.
    """
    blocks: dict[int, dict[tuple[Any, ...], int]] = {}
    for one in tensors:
        place = (one.storage_offset(), tuple(one.shape), one.stride())
        blocks.setdefault(one.untyped_storage().data_ptr(), {})[place] = one.numel()
    for path, flat in flats.items():
        mine = blocks.get(flat.untyped_storage().data_ptr(), {})
        numbers = sum(mine.values())
        if numbers > len(flat) and len(mine) > 1:
            raise CheckpointError(
                f"Tensors of {path} overlap: they share a part of their numbers. Save copies (clone)."
            )
        if numbers != len(flat):
            raise CheckpointError(
                f"{path} holds {len(flat):,} numbers, but its tensors have {numbers:,}. If a weight "
                "is a part of a larger tensor, give it its own memory (clone) and export the network again."
            )


def _strided(flat: Tensor, take: Taker, meta: Any, *, repeats: bool) -> Tensor:
    """The tensor that the table describes, as a view of its entry's numbers. repeats: whether it may repeat them."""
    sizes, strides = _whole(take, meta, "sizes"), _whole(take, meta, "strides")
    offset = _number(take, take(meta, "storage_offset", dict))
    if _type(take, meta) != flat.dtype:
        raise take.damaged("it shares its numbers with a tensor of another type")
    if take(meta, "layout", int) != STRIDED:
        raise CheckpointError(f"The {take.what} is sparse or packed; only dense ones are read.")
    if len(sizes) > MAX_DIMENSIONS or len(strides) != len(sizes):
        raise take.damaged("its sizes and strides do not fit each other")
    numbers = prod(sizes)
    reach = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True)) + 1 if numbers else 0
    repeats = repeats and numbers * flat.element_size() <= MAX_EXPANDED
    if reach > len(flat) or (numbers > len(flat) and not repeats):
        raise CheckpointError(
            f"The {take.what} claims the shape {tuple(sizes)!r:.200}, but the file does not hold that many numbers. "
            "It was not loaded."
        )
    return flat.as_strided(sizes, strides, offset) if numbers else torch.empty(sizes, dtype=flat.dtype)


def _flat(view: memoryview, take: Taker, meta: Any) -> Tensor:
    """Convert bytes to a tensor of one dimension. The bytes are copied, because their address may not be aligned."""
    dtype = _type(take, meta)
    if len(view) % dtype.itemsize:
        raise take.damaged(f"its {len(view):,} bytes are not a whole number of {dtype.itemsize}-byte numbers")
    if dtype == torch.bool and bytes(view).strip(b"\0\1"):
        raise take.damaged("it holds booleans that are neither true nor false")
    return torch.frombuffer(bytearray(view), dtype=dtype) if len(view) else torch.empty(0, dtype=dtype)


def _type(take: Taker, meta: Any) -> torch.dtype:
    kind = TYPES.get(take(meta, "dtype", int))
    if kind is None:
        raise CheckpointError(f"The {take.what} holds a number type that is not read: torch's code {meta['dtype']}.")
    dtype: torch.dtype = getattr(torch, kind)
    return dtype


def _whole(take: Taker, meta: Any, key: str) -> list[int]:
    return [_number(take, item) for item in take.items(meta, key, dict)]


def _number(take: Taker, record: Any) -> int:
    """A size, stride or offset: an integer of at least 0. Raises CheckpointError for other numbers and expressions."""
    value = take(record, "as_int", int)
    if len(record) != 1 or not 0 <= value < 2**40:
        raise take.damaged("a size, stride or offset is negative, huge or an expression")
    return value  # type: ignore[no-any-return]


def constant_tensor(name: str, payload: StoredTensor) -> Tensor:
    """Copy a constant: floating-point numbers become float32, infinities stay. Raises CheckpointError for NaN and for
    numbers beyond float32."""
    numbers = payload.strided
    kind = str(numbers.dtype).removeprefix("torch.")
    if kind not in FLOATS:
        wide = torch.complex64 if numbers.is_complex() else numbers.dtype
        return numbers.to(wide, memory_format=torch.contiguous_format, copy=True)
    narrow = numbers.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    if bool(narrow.isnan().any()) or bool((narrow.isinf() != numbers.isinf()).any()):
        raise CheckpointError(f"The constant {name} holds NaN or numbers beyond float32. It was not loaded.")
    return narrow
