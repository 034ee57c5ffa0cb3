"""From whatever was loaded to a state dict that is safe to compute with: sane names, dense, finite, float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from merging.errors import CheckpointError
from merging.zoo.checkpoints.reading.kinds import HOW
from merging.zoo.checkpoints.reading.limits import KEY, MAX_DIMENSIONS, MAX_KEY, MAX_TENSORS, shown

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network")  # what training scripts put around it
PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COUNTERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@dataclass(frozen=True)
class Loaded:
    """state: name -> float32 tensor (counters int64).  aliases: a tied tensor's further names -> its first one.

    was: the number types found, such as ("float16",).  story: our own metadata, unchecked, or {}.
    """

    state: dict[str, Tensor]
    aliases: dict[str, str] = field(default_factory=dict)
    was: tuple[str, ...] = ("float32",)
    story: dict[str, Any] = field(default_factory=dict)


def checked(loaded: Any, story: dict[str, Any] | None = None) -> Loaded:
    """The state dict inside `loaded`, unwrapped and converted. Raises CheckpointError naming the first offence.

    Accepts dense tensors of float16, bfloat16, float32 and float64, and single integers (BatchNorm's counters).
    """
    raw = _without_prefix(_named(_unwrapped(loaded)))
    for name, tensor in raw.items():
        _check_form(name, tensor)
    aliases = _ties(raw)
    first = {name: tensor for name, tensor in raw.items() if name not in aliases}
    state = {name: _converted(name, tensor) for name, tensor in first.items()}
    was = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in first.values() if tensor.is_floating_point()})
    state |= {alias: state[name] for alias, name in aliases.items()}
    return Loaded({name: state[name] for name in raw}, aliases, tuple(was), story or {})


def _unwrapped(loaded: Any) -> Mapping[Any, Any]:
    for _ in range(3):
        if not isinstance(loaded, Mapping):
            break
        inner = next((loaded[name] for name in WRAPPERS if isinstance(loaded.get(name), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"The file holds {_article(loaded)}, not a state dict of named tensors. {HOW}")
    if not loaded:
        raise CheckpointError(f"The file holds no tensors at all. {HOW}")
    if len(loaded) > MAX_TENSORS:
        raise CheckpointError(f"The file holds {len(loaded)} tensors; at most {MAX_TENSORS} are read.")
    return loaded


def _named(loaded: Mapping[Any, Any]) -> dict[str, Tensor]:
    for name, value in loaded.items():
        if not isinstance(name, str) or len(name) > MAX_KEY or not KEY.fullmatch(name):
            raise CheckpointError(
                f"The tensor name {shown(str(name))} is not one that torch makes (letters, digits, _ - and dots, "
                f"at most {MAX_KEY} characters). It was not loaded."
            )
        if type(value) not in (Tensor, nn.Parameter):
            raise CheckpointError(f"{name} is {_article(value)}, not a tensor. {HOW}")
    return {name: value.detach() for name, value in loaded.items()}


def _without_prefix(named: dict[str, Tensor]) -> dict[str, Tensor]:
    for _ in range(3):
        found = next((p for p in PREFIXES if all(name.startswith(p) and name != p for name in named)), None)
        if found is None:
            break
        named = {name.removeprefix(found): tensor for name, tensor in named.items()}
    return named


def _check_form(name: str, tensor: Tensor) -> None:
    """Looks only at the tensor's description: nothing here touches, and so nothing makes, its numbers."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        raise CheckpointError(f"{name} is a sparse, quantised or nested tensor; only dense ones are read.")
    if tensor.device.type != "cpu":
        raise CheckpointError(f"{name} has no numbers in the file (it is on the {tensor.device.type} device).")
    if tensor.dim() > MAX_DIMENSIONS or tensor.numel() == 0:
        raise CheckpointError(f"{name} has the shape {tuple(tensor.shape)[: MAX_DIMENSIONS + 1]}, which no layer has.")
    if tensor.dtype not in _FLOATS and not (tensor.dtype in _COUNTERS and tensor.numel() == 1):
        raise CheckpointError(f"{name} holds {kind}; weights must be float16, bfloat16, float32 or float64.")
    if not _is_dense(tensor):
        raise CheckpointError(
            f"{name} claims the shape {tuple(tensor.shape)} but the file does not hold as many numbers. "
            "It was not loaded."
        )


def _is_dense(tensor: Tensor) -> bool:
    """Whether the elements fill one block of the storage, each place once, in any order of the dimensions."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return (tensor.storage_offset() + tensor.numel()) * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _ties(raw: dict[str, Tensor]) -> dict[str, str]:
    """Further names of tied tensors. Raises CheckpointError where two tensors share a part of their numbers."""
    aliases: dict[str, str] = {}
    blocks: dict[int, list[tuple[int, int, str]]] = {}
    for name, tensor in raw.items():
        start = int(tensor.storage_offset()) * tensor.element_size()
        block = (start, start + tensor.numel() * tensor.element_size(), name)
        blocks.setdefault(tensor.untyped_storage().data_ptr(), []).append(block)
    for found in blocks.values():
        end, owner = -1, ""
        for start, stop, name in sorted(found, key=lambda block: block[:2]):
            if start >= end:
                end, owner = stop, name
            elif (raw[owner].shape, raw[owner].stride()) == (raw[name].shape, raw[name].stride()) and stop == end:
                aliases[name] = owner
            else:
                raise CheckpointError(f"{owner} and {name} overlap: they share a part of their numbers. Save copies.")
    return aliases


def _converted(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.to(torch.int64, copy=True)
    numbers = tensor.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    if not bool(torch.isfinite(numbers).all()):
        raise CheckpointError(f"{name} holds NaN, infinity or numbers beyond float32: the training had diverged.")
    return numbers


def _article(value: Any) -> str:
    kind = type(value).__name__
    return f"an {kind}" if kind[0].lower() in "aeiou" else f"a {kind}"
