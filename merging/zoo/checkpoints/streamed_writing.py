"""Write a safetensors file tensor by tensor: the header first, then the values of one tensor at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from merging.zoo.checkpoints.checkpoint import named_with_story
from merging.zoo.checkpoints.metadata import Story
from merging.zoo.checkpoints.reading.safetensors_io import METADATA_KEY, full_story

# Number type -> its name in a file. safetensors sorts tensors by type, in this order, and within a type by name.
_KINDS = {torch.int64: "I64", torch.complex64: "C64", torch.float32: "F32", torch.bool: "BOOL"}


def checkpoint_chunks(
    state: Mapping[str, Tensor], tensors: Mapping[str, Tensor], story: Story, names: Mapping[str, str]
) -> Iterator[memoryview]:
    """Yield, in pieces, the same bytes that `save_checkpoint` returns for a state and story.

    Args:
        state: name -> tensor of any shape, possibly on the meta device; only shapes and types are read. Names that map
            to one tensor object are tied.
        tensors: name -> the same tensor with its values; each is looked up once.
        story: the file's metadata.
        names: Mergescope's tensor names -> the names to use in the file, as for `save_checkpoint`.
    """
    by_name, metadata = named_with_story(state, story, names)
    ours = {names.get(name, name): name for name in state}
    order = sorted(by_name, key=lambda name: (list(_KINDS).index(by_name[name].dtype), name.encode()))
    yield memoryview(_header(order, by_name, metadata))
    for name in order:
        yield tensors[ours[name]].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _header(order: list[str], state: Mapping[str, Tensor], story: Mapping[str, Any]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {METADATA_KEY: json.dumps(full_story(story, _ties(state)))}}
    end = 0
    for name in order:
        begin, end = end, end + state[name].numel() * state[name].element_size()
        entries[name] = {
            "dtype": _KINDS[state[name].dtype],
            "shape": list(state[name].shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _ties(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Further names of tied tensors -> the tensor's first name."""
    owners: dict[int, str] = {}
    owned = {name: owners.setdefault(id(tensor), name) for name, tensor in state.items() if tensor.numel()}
    return {name: owner for name, owner in owned.items() if name != owner}
