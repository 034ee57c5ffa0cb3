"""Read safetensors files one tensor at a time: shapes and types come from the header, values are read on demand."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from merging.errors import CheckpointError
from merging.zoo.checkpoints.reading.contents import contents_of
from merging.zoo.checkpoints.reading.files import File, folder_files, weight_map
from merging.zoo.checkpoints.reading.kinds import HOW, kind_of
from merging.zoo.checkpoints.reading.limits import MAX_DIMENSIONS, MAX_HEADER, MAX_TENSORS
from merging.zoo.checkpoints.reading.opening import opened, read_start, read_whole
from merging.zoo.checkpoints.reading.safetensors_io import aliases_of, check_ties, header_of, story_of, take_constants
from merging.zoo.checkpoints.reading.tensors import Loaded, converted

# A file's number type -> its name in torch, and the type after `converted`.
_KINDS = {
    "F16": ("float16", torch.float32),
    "BF16": ("bfloat16", torch.float32),
    "F32": ("float32", torch.float32),
    "F64": ("float64", torch.float32),
    "I64": ("int64", torch.int64),
    "I32": ("int32", torch.int64),
    "I16": ("int16", torch.int64),
    "I8": ("int8", torch.int64),
    "U8": ("uint8", torch.int64),
    "BOOL": ("bool", torch.bool),
    "C64": ("complex64", torch.complex64),
}


@dataclass(frozen=True, eq=False)
class SlicedFile:
    """Networks whose tensors stay in their files.

    Attributes:
        file: as the readers in `files` return it, but with tensors on the meta device (shape and type, no values).
        places: id of such a tensor -> the path and the tensor name of its values.
    """

    file: File
    places: Mapping[int, tuple[Path, str]]

    def read(self, tensor: Tensor) -> Tensor:
        """Read a tensor's values into new memory; the result has the tensor's shape and type.

        Raises CheckpointError when the values are not finite, or the file has changed.
        """
        path, name = self.places[id(tensor)]
        try:
            with safetensors.safe_open(path, framework="pt") as slices:
                numbers = converted(name, slices.get_tensor(name))
        except (safetensors.SafetensorError, OSError) as error:
            raise CheckpointError(f"{name} can no longer be read from {path}. Import the file again.") from error
        if numbers.shape != tensor.shape or numbers.dtype != tensor.dtype:
            raise CheckpointError(f"{path} changed while it was read. Start again.")
        return numbers


def is_sliceable(path: Path) -> bool:
    """Whether a path is a safetensors file or a folder of them. Raises CheckpointError for a file of unknown kind."""
    if path.is_dir():
        return bool(folder_files(path))
    return kind_of(*read_start(path)) == "safetensors"


def read_sliced(path: Path) -> SlicedFile:
    """Read the networks of a safetensors file, or of a folder of them with an index, without any values.

    Raises CheckpointError as the readers in `files` do, except for faults in the values, for which
    `SlicedFile.read` raises it.
    """
    if not path.is_dir():
        return _single(path)
    homes = weight_map(folder_files(path), lambda name: read_whole(path / name), f"The folder {path.name}")
    if isinstance(homes, str):
        return _single(path / homes)
    parts = {part: _described(path / part)[0] for part in sorted(set(homes.values()))}
    missing = [name for name, part in homes.items() if name not in parts[part]]
    if missing:
        raise CheckpointError(f"{homes[missing[0]]} does not hold {missing[0]}, as the index says. Download it again.")
    described = {name: parts[part][name] for name, part in homes.items()}
    places = {id(tensor): (path / homes[name], name) for name, (tensor, _) in described.items()}
    return SlicedFile(_networks(described, {}, {}, "safetensors, in parts"), places)


def _single(path: Path) -> SlicedFile:
    described, story = _described(path)
    take_constants(story, described)
    places = {id(tensor): (path, name) for name, (tensor, _) in described.items()}
    aliases = aliases_of(story, described)
    if held := {alias: first for alias, first in aliases.items() if alias in described}:
        with safetensors.safe_open(path, "pt") as file:
            check_ties(held, file.get_tensor)
    described |= {alias: described[first] for alias, first in aliases.items()}
    return SlicedFile(_networks(described, aliases, story, "safetensors"), places)


def _networks(
    described: Mapping[str, tuple[Tensor, str]], aliases: dict[str, str], story: dict[str, Any], format: str
) -> File:
    """The same file as `files.read_safetensors` returns. described: name -> (meta tensor, its type in the file)."""
    state = {name: tensor for name, (tensor, _) in described.items()}
    was = tuple(sorted({kind for _, kind in described.values() if "float" in kind}))
    whole = Loaded(state, aliases, was, story=story)
    if story:
        return File({"": whole}, story=story)
    contents = contents_of(state)
    networks = {place: whole if place == "" else Loaded(own, {}, was) for place, own in contents.networks.items()}
    return File(networks, contents.aside, format)


def _described(path: Path) -> tuple[dict[str, tuple[Tensor, str]], dict[str, Any]]:
    """Name -> (meta tensor, its type in the file), from a file's header; and the file's story."""
    with opened(path) as (file, _):
        start = file.read(8)
        size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        header = header_of(start + file.read(min(size, MAX_HEADER)))
    story = story_of(header.pop("__metadata__", {}))
    if len(header) > MAX_TENSORS:
        raise CheckpointError(f"The file holds {len(header)} tensors; at most {MAX_TENSORS} are read.")
    try:
        with safetensors.safe_open(path, framework="pt") as slices:
            shapes = {name: tuple(slices.get_slice(name).get_shape()) for name in slices.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"The file is damaged: its header does not fit its numbers. {HOW}") from error
    return {name: _described_tensor(name, shape, str(header[name]["dtype"])) for name, shape in shapes.items()}, story


def _described_tensor(name: str, shape: tuple[int, ...], kind: str) -> tuple[Tensor, str]:
    if len(shape) > MAX_DIMENSIONS:
        raise CheckpointError(f"{name} has the shape {shape[: MAX_DIMENSIONS + 1]}, which no layer has.")
    if kind not in _KINDS:
        raise CheckpointError(f"{name} holds {kind}; weights must be float16, bfloat16, float32 or float64.")
    was, becomes = _KINDS[kind]
    return torch.empty(shape, dtype=becomes, device="meta"), was
