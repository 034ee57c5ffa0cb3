"""Read and write safetensors files. The header is checked before the tensors are read.

Mergescope's own metadata of a network, its story (architecture, data set, seed ...), is JSON under the metadata key
`mergescope`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from merging.errors import CheckpointError
from merging.zoo.checkpoints.metadata import own_names
from merging.zoo.checkpoints.reading.kinds import HOW
from merging.zoo.checkpoints.reading.limits import MAX_HEADER, MAX_KEY, MAX_STORY, MAX_TENSORS
from merging.zoo.checkpoints.reading.tensors import Loaded, checked

METADATA_KEY = "mergescope"
CONSTANT = "program_constants."
FORMAT = 1
V = TypeVar("V")


def read_tensors(data: bytes) -> Loaded:
    """Read the tensors and the story in a safetensors file's bytes. Raises CheckpointError naming the first fault."""
    header = header_of(data)
    story = story_of(header.pop("__metadata__", {}))
    if len(header) > MAX_TENSORS:
        raise CheckpointError(f"The file holds {len(header)} tensors; at most {MAX_TENSORS} are read.")
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"The file is damaged: its header does not fit its numbers. {HOW}") from error
    constants = take_constants(story, tensors)
    aliases = aliases_of(story, tensors)
    check_ties({alias: first for alias, first in aliases.items() if alias in tensors}, tensors.__getitem__)
    loaded = checked(tensors | {alias: tensors[first] for alias, first in aliases.items()}, story)
    return replace(loaded, constants=constants)


def check_ties(aliases: Mapping[str, str], tensor: Callable[[str], Tensor]) -> None:
    """Raise CheckpointError if tied tensors that the file holds have different numbers.

    aliases: name -> first name, both in the file.  tensor: gives the file's tensor of a name.
    """
    for alias, first in aliases.items():
        if not same_numbers(tensor(alias), tensor(first)):
            raise CheckpointError(
                f"The file's metadata tie {alias} to {first}, but the file holds different numbers for them. Save the "
                "network again without this metadata."
            )


def same_numbers(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of any shapes have equal shapes, types and numbers; NaN equals NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())


def tensor_names(data: bytes) -> dict[str, str]:
    """Mergescope's tensor names -> the user's, in a file that Mergescope wrote. Raises CheckpointError if damaged."""
    return own_names(story_of(header_of(data).get("__metadata__", {})))


def write_tensors(
    state: Mapping[str, Tensor], story: Mapping[str, Any], constants: Mapping[str, Tensor] | None = None
) -> bytes:
    """Return the bytes of a safetensors file of contiguous tensors, of any shapes, under all of their names.

    Tied tensors are copied, so that any module loads the file strictly. Their names are recorded, so that
    `read_tensors` ties them again. Equal arguments give equal bytes.

    constants: tensors that the network needs in addition to its state dict; they are stored under separate names.
    """
    owners: dict[tuple[Any, ...], str] = {}
    aliases = {}
    for name, tensor in state.items():
        if not tensor.numel():  # all tensors without elements have the same address
            continue
        place = (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if owners.setdefault(place, name) != name:
            aliases[name] = owners[place]
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    tensors |= {alias: tensors[alias].clone() for alias in aliases}
    full = full_story(story, aliases)
    if constants:
        full["constants"] = list(constants)
        tensors |= {f"{CONSTANT}{n}": t.detach().cpu().contiguous() for n, t in enumerate(constants.values())}
    return safetensors.torch.save(tensors, metadata={METADATA_KEY: json.dumps(full)})


def full_story(story: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    """Metadata for a file with this story. aliases: further names of tied tensors -> the tensor's first name."""
    return {"format": FORMAT, **story, **({"aliases": aliases} if aliases else {})}


def take_constants(story: Mapping[str, Any], tensors: dict[str, V]) -> dict[str, V]:
    """Remove the constants that the story names from the file's tensors, and return them: name -> value in `tensors`.

    Raises CheckpointError when the file does not hold them.
    """
    names = story.get("constants", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and len(name) <= MAX_KEY for name in names):
        raise CheckpointError("The file's list of constants is damaged. Write the file again.")
    places = {name: f"{CONSTANT}{number}" for number, name in enumerate(names)}
    if len(places) != len(names) or any(place not in tensors for place in places.values()):
        raise CheckpointError("The file's list of constants names one that is not in the file. Write the file again.")
    return {name: tensors.pop(place) for name, place in places.items()}


def aliases_of(story: Mapping[str, Any], names: Container[str]) -> dict[str, str]:
    """Further names of tied tensors -> the tensor's first name, as the story lists them. names: those in the file.

    Raises CheckpointError when the file does not hold a first name.
    """
    aliases = story.get("aliases", {})
    if not isinstance(aliases, dict) or not all(isinstance(one, str) and one in names for one in aliases.values()):
        raise CheckpointError(
            "The file's list of tied tensors names one that is not in the file. Write the file again."
        )
    return aliases


def header_of(data: bytes) -> dict[str, Any]:
    """Parse the header of a safetensors file. data: its first bytes. Raises CheckpointError when it is damaged."""
    size = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if size > MAX_HEADER:
        raise CheckpointError(f"The file's header claims {size} bytes; at most {MAX_HEADER} are read.")
    if not 0 < size <= len(data) - 8:
        raise CheckpointError("The file is cut off: it is shorter than its header says. Copy or download it again.")
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"The file's header is damaged. {HOW}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"The file's header is damaged. {HOW}")
    return header


def story_of(metadata: Any) -> dict[str, Any]:
    """Mergescope's story in a header's metadata, its fields unchecked, or {}. Raises CheckpointError if damaged."""
    text = metadata.get(METADATA_KEY, "{}") if isinstance(metadata, dict) else "{}"
    try:
        story = json.loads(text) if isinstance(text, str) and len(text) <= MAX_STORY else None
    except (ValueError, RecursionError):
        story = None
    if not isinstance(story, dict):
        raise CheckpointError("The file's mergescope metadata is damaged. Save the weights again without it.")
    return story
