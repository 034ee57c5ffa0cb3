"""Build networks with weights on the meta device, to get tensor names and shapes without using memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from merging.errors import InvalidSetting

# Functions that draw initial values. Meta tensors have none, but torch takes a millisecond for each call.
_DRAWS = frozenset(
    {Tensor.normal_, Tensor.uniform_, Tensor.erfinv_, init.normal_, init.uniform_, init.kaiming_uniform_}
)


class _EmptyOnMeta(TorchFunctionMode):
    """Mode in which `torch.empty`, which layers create their weights with, returns tensors on the meta device.

    `torch.device("meta")` would affect all functions that create tensors, but some networks use tensors to
    compute their widths.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if func in _DRAWS:
            drawn = args[0] if args else options["tensor"]
            if drawn.is_meta:
                return drawn
        if func is torch.empty and options.get("device") is None:
            options["device"] = "meta"
        return func(*args, **options)


@contextmanager
def weightless() -> Iterator[None]:
    """Context in which modules are built with weights on the meta device, which have a shape but no values."""
    with _EmptyOnMeta():
        yield


def made_weightless(make: Callable[[], nn.Module]) -> nn.Module:
    """Call `make` with weights on the meta device, or with real weights if `make` computes with them.

    Raises the errors of `make`.
    """
    try:
        with weightless():
            return make()
    except (InvalidSetting, RuntimeError):
        return make()
