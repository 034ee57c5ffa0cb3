"""Detection of tensors that a network computes once from its weights and stores: a merge would leave them outdated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from merging.errors import UnsupportedOperation

_REGISTERED = ("_parameters", "_buffers", "_modules")


def kept_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the tensors that modules hold outside parameters and buffers, as (attribute, tensor) pairs.

    Tensors inside lists and dictionaries are included.
    """
    return [
        (f"{path}.{name}".lstrip("."), tensor)
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if name not in _REGISTERED
        for tensor in _tensors(value)
    ]


def refuse_caches(before: Iterable[tuple[str, Tensor]], model: nn.Module, constants: Iterable[Tensor]) -> None:
    """Raise UnsupportedOperation where a run reads a tensor that an earlier run of the model stored.

    Args:
        before: `kept_tensors` before the model's first run.
        model: the model after that run.
        constants: the tensors of any shape, other than parameters and buffers, that the graph reads.
    """
    old = {id(tensor) for _, tensor in before}
    new = {tensor.data_ptr(): name for name, tensor in kept_tensors(model) if id(tensor) not in old and tensor.numel()}
    read = [new[constant.data_ptr()] for constant in constants if constant.data_ptr() in new]
    if read:
        _refuse(f"{read[0]} is computed in the first run and read in later ones")


def refuse_copies(unread: Mapping[str, Tensor], constants: Iterable[Tensor]) -> None:
    """Raise UnsupportedOperation where the graph reads a copy of a parameter instead of the parameter.

    Args:
        unread: name -> tensor of any shape, the parameters and buffers that no operation reads.
        constants: as in `refuse_caches`.
    """
    varied = [constant for constant in constants if constant.numel() > 1 and constant.is_floating_point()]
    varied = [constant for constant in varied if bool((constant != constant.flatten()[0]).any())]
    for name, tensor in unread.items():
        if any(bool(torch.isin(constant, tensor.to(constant)).all()) for constant in varied):
            _refuse(f"{name} is no longer read, because an earlier run stored a copy of its values")


def _refuse(what: str) -> None:
    raise UnsupportedOperation(
        f"{what}, so a merge would use outdated values. Compute such tensors in every run, even in eval mode, and "
        "give the network before its first run."
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
