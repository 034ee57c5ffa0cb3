"""safetensors files: the header is checked first, then the tensors are read; and the writing of our own.

Our own story of a net (architecture, data, seed ...) stands as JSON under the one metadata key `mergescope`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from merging.errors import CheckpointError
from merging.zoo.checkpoints.reading.kinds import HOW
from merging.zoo.checkpoints.reading.limits import MAX_HEADER, MAX_STORY, MAX_TENSORS
from merging.zoo.checkpoints.reading.tensors import Loaded, checked

METADATA_KEY = "mergescope"
FORMAT = 1


def read(data: bytes) -> Loaded:
    """The tensors and our story of a safetensors file. Raises CheckpointError naming the first offence."""
    header = _header(data)
    story = _story(header.pop("__metadata__", {}))
    if len(header) > MAX_TENSORS:
        raise CheckpointError(f"The file holds {len(header)} tensors; at most {MAX_TENSORS} are read.")
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"The file is damaged: its header does not fit its numbers. {HOW}") from error
    aliases = story.get("aliases", {})
    if not isinstance(aliases, dict) or not all(first in tensors for first in aliases.values()):
        raise CheckpointError("The file's list of tied tensors names one that it does not hold. Write it again.")
    return checked(tensors | {alias: tensors[first] for alias, first in aliases.items()}, story)


def write(state: Mapping[str, Tensor], story: Mapping[str, Any]) -> bytes:
    """A safetensors file of contiguous tensors of any shapes on the CPU, under all of their names.

    Tied tensors are copied, so that any module loads the file strictly, and their names recorded, so that they come
    back tied. The same state and story give the same bytes.
    """
    owners: dict[tuple[Any, ...], str] = {}
    aliases = {}
    for name, tensor in state.items():
        place = (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if owners.setdefault(place, name) != name:
            aliases[name] = owners[place]
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    kept |= {alias: kept[alias].clone() for alias in aliases}
    full = {"format": FORMAT, **story, **({"aliases": aliases} if aliases else {})}
    return safetensors.torch.save(kept, metadata={METADATA_KEY: json.dumps(full)})


def _header(data: bytes) -> dict[str, Any]:
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


def _story(metadata: Any) -> dict[str, Any]:
    text = metadata.get(METADATA_KEY, "{}") if isinstance(metadata, dict) else "{}"
    try:
        story = json.loads(text) if isinstance(text, str) and len(text) <= MAX_STORY else None
    except (ValueError, RecursionError):
        story = None
    if not isinstance(story, dict):
        raise CheckpointError("The file's mergescope metadata is damaged. Save the weights again without it.")
    return story
