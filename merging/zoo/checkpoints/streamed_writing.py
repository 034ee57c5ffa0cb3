"""Writing a safetensors file tensor by tensor: the header first, then each tensor's numbers when they are made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from merging.zoo.checkpoints.checkpoint import named_with_story
from merging.zoo.checkpoints.metadata import Story
from merging.zoo.checkpoints.reading.safetensors_io import METADATA_KEY, full_story

# Type -> its name in a file; safetensors puts tensors of an earlier type first, and those of one type by name.
_KINDS = {torch.int64: "I64", torch.complex64: "C64", torch.float32: "F32", torch.bool: "BOOL"}


def checkpoint_chunks(
    state: Mapping[str, Tensor], tensors: Mapping[str, Tensor], story: Story, names: Mapping[str, str]
) -> Iterator[memoryview]:
    """The bytes that `save_checkpoint` gives for a state and story, one piece after another.

    state: name -> tensor of any shape, which may be on the meta device: it tells shapes, types, and by being one object
    which names are tied.  tensors: name -> the same tensor with numbers, each asked for once.  names: as for
    `save_checkpoint`.
    """
    named, said = named_with_story(state, story, names)
    ours = {names.get(name, name): name for name in state}
    order = sorted(named, key=lambda name: (list(_KINDS).index(named[name].dtype), name.encode()))
    yield memoryview(_header(order, named, said))
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
    """A tied tensor's further names -> its first one."""
    owners: dict[int, str] = {}
    owned = {name: owners.setdefault(id(tensor), name) for name, tensor in state.items() if tensor.numel()}
    return {name: owner for name, owner in owned.items() if name != owner}
