"""BatchNorm's running statistics: find the modules that keep them, and re-estimate them from data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from merging.network.data import Batches
from merging.network.memory_format import fastest


def batch_norms(model: nn.Module) -> list[str]:
    """Return the names of the BatchNorm modules that keep running statistics."""
    return [name for name, m in model.named_modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def reset_batch_norm(model: nn.Module, data: Batches) -> nn.Module:
    """Return a copy of `model` whose BatchNorm running statistics are means over the batches of `data`.

    The data are read once. `model` itself is not changed.
    """
    twin = copy.deepcopy(model).eval()
    run_all = passes(twin, data)
    with batch_norm_in_training(twin, batch_norms(twin)):
        run_all()
    return twin


@contextmanager
def batch_norm_in_training(model: nn.Module, names: Iterable[str]) -> Iterator[None]:
    """Context manager in which the named BatchNorm modules normalise by the batch and re-estimate their statistics.

    The statistics are averaged from scratch over all batches. Every batch has the same weight in the average. Dropout
    and all other modules stay in eval mode. Changes `model` in place; on exit the named modules are back in eval mode
    with the new statistics.
    """
    modules: list[Any] = [model.get_submodule(name) for name in names]
    momenta = [module.momentum for module in modules]
    for module in modules:
        module.reset_running_stats()
        module.momentum = None
        module.train()
    try:
        yield
    finally:
        for module, momentum in zip(modules, momenta, strict=True):
            module.momentum = momentum
            module.eval()


def passes(model: nn.Module, data: Batches) -> Callable[[], None]:
    """Return a function that passes every batch through the model; its modules and hooks collect the results.

    Call this before hooks are set, because it runs the model on an example to find its fastest memory format.
    """
    batches = data.on_model(model)
    with torch.no_grad():
        run = fastest(model, batches.example())

    def run_all() -> None:
        with torch.no_grad():
            for images, _ in batches:
                run(images)

    return run_all
