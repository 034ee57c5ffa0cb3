"""Networks built without numbers, to learn their tensors' names and shapes at no cost in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from merging.errors import InvalidSetting


class _EmptyOnMeta(TorchFunctionMode):
    """`torch.empty`, with which layers make their weights, gives tensors of the meta device.

    Not all factories (`torch.device("meta")`): some networks compute their widths with tensors.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if func is torch.empty and options.get("device") is None:
            options["device"] = "meta"
        return func(*args, **options)


@contextmanager
def weightless() -> Iterator[None]:
    """Within it, modules are built with weights that have shapes and no numbers."""
    with _EmptyOnMeta():
        yield


def made_weightless(make: Callable[[], nn.Module]) -> nn.Module:
    """The module that `make` gives, without numbers; with them where it computes with weights while it is built.

    Raises what `make` raises.
    """
    try:
        with weightless():
            return make()
    except (InvalidSetting, RuntimeError):
        return make()
