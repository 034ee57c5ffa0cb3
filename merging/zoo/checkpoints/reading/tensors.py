"""Check and convert a loaded state dict: the result is dense, complete, and float32 where it is floating-point.

Other tensors keep their kind: integers become int64, booleans stay, complex numbers become complex64. Masks of
infinities are allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from merging.errors import CheckpointError
from merging.zoo.checkpoints.reading.contents import article
from merging.zoo.checkpoints.reading.kinds import HOW
from merging.zoo.checkpoints.reading.limits import MAX_DIMENSIONS

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_OTHERS = (torch.bool, torch.complex64, torch.complex128)


@dataclass(frozen=True)
class Loaded:
    """The tensors of one network.

    Attributes:
        state: name -> tensor; floating-point tensors are float32.
        aliases: further names of tied tensors -> the tensor's first name.
        was: the floating-point types in the file, such as ("float16",).
        constants: for an exported program, the tensors that no state dict holds.
        story: Mergescope's own metadata, unchecked, or {}.
    """

    state: dict[str, Tensor]
    aliases: dict[str, str] = field(default_factory=dict)
    was: tuple[str, ...] = ("float32",)
    constants: dict[str, Tensor] = field(default_factory=dict)
    story: dict[str, Any] = field(default_factory=dict)


def checked(raw: Mapping[str, Tensor], story: dict[str, Any] | None = None) -> Loaded:
    """Check and convert the tensors of one network, of any shapes. Raises CheckpointError naming the first fault."""
    for name, tensor in raw.items():
        _check_form(name, tensor)
    aliases = _ties({name: tensor.detach() for name, tensor in raw.items()})
    first = {name: tensor.detach() for name, tensor in raw.items() if name not in aliases}
    state = {name: converted(name, tensor) for name, tensor in first.items()}
    was = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in first.values() if tensor.is_floating_point()})
    state |= {alias: state[name] for alias, name in aliases.items()}
    return Loaded({name: state[name] for name in raw}, aliases, tuple(was), story=story or {})


def _check_form(name: str, tensor: Tensor) -> None:
    """Check only a tensor's description: its values are not touched, so that no memory is allocated for them."""
    if type(tensor) not in (Tensor, nn.Parameter):
        raise CheckpointError(f"{name} is {article(tensor)}, not a plain tensor. {HOW}")
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        raise CheckpointError(f"{name} is a sparse, quantised or nested tensor; only dense ones are read.")
    if tensor.device.type != "cpu":
        raise CheckpointError(f"{name} has no numbers in the file (it is on the {tensor.device.type} device).")
    if tensor.dim() > MAX_DIMENSIONS:
        raise CheckpointError(f"{name} has the shape {tuple(tensor.shape)[: MAX_DIMENSIONS + 1]}, which no layer has.")
    if tensor.dtype not in (*_FLOATS, *_WHOLE, *_OTHERS):
        raise CheckpointError(f"{name} holds {kind}; weights must be float16, bfloat16, float32 or float64.")
    if tensor.numel() and not _is_dense(tensor):
        raise CheckpointError(
            f"{name} claims the shape {tuple(tensor.shape)}, but the file does not hold that many numbers. "
            "It was not loaded."
        )


def _is_dense(tensor: Tensor) -> bool:
    """Whether the elements fill one block of the storage without gaps or repeats, in any order of the dimensions."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return (tensor.storage_offset() + tensor.numel()) * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _ties(raw: Mapping[str, Tensor]) -> dict[str, str]:
    """Further names of tied tensors -> the tensor's first name.

    Raises CheckpointError when two tensors share only a part of their numbers.
    """
    aliases: dict[str, str] = {}
    blocks: dict[int, list[tuple[int, int, str]]] = {}
    for name, tensor in raw.items():
        if tensor.numel():
            start = int(tensor.storage_offset()) * tensor.element_size()
            block = (start, start + tensor.numel() * tensor.element_size(), name)
            blocks.setdefault(tensor.untyped_storage().data_ptr(), []).append(block)
    for shared in blocks.values():
        end, owner = -1, ""
        for start, stop, name in sorted(shared, key=lambda block: block[:2]):
            if start >= end:
                end, owner = stop, name
            elif (raw[owner].shape, raw[owner].stride()) == (raw[name].shape, raw[name].stride()) and stop == end:
                aliases[name] = owner
            else:
                raise CheckpointError(f"{owner} and {name} overlap: they share a part of their numbers. Save copies.")
    return aliases


def converted(name: str, tensor: Tensor) -> Tensor:
    """Copy a tensor of any shape to float32, int64, bool or complex64. Raises CheckpointError when floating-point
    numbers are not finite and the tensor is not a mask."""
    if tensor.dtype in _WHOLE:
        return tensor.to(torch.int64, copy=True)
    if not tensor.is_floating_point():
        return tensor.to(torch.bool if tensor.dtype == torch.bool else torch.complex64, copy=True)
    numbers = tensor.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    if not bool(torch.isfinite(numbers).all()) and not _is_mask(numbers):
        raise CheckpointError(
            f"{name} holds NaN, infinity or numbers beyond float32. If it is a weight, the training had diverged: take "
            "an earlier checkpoint. If it is not a weight, leave it out of the state dict (persistent=False)."
        )
    return numbers


def _is_mask(numbers: Tensor) -> bool:
    """Whether a tensor of two or more dimensions holds only zeros and infinities of one sign, as attention masks do."""
    infinite = numbers.isinf()
    finite = numbers[~infinite]
    one_sign = len(numbers[infinite].unique()) == 1
    return numbers.dim() >= 2 and len(finite) > 0 and bool((finite == 0).all()) and one_sign
