"""Shared parts of methods that learn by gradient descent: forward pass, endless batches, held-out loss, Adam."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from merging.network.batch_norm import batch_norms
from merging.network.data import Batches
from merging.network.outputs import answer_loss
from merging.network.permutation import named_tensors

Tensors = Mapping[str, Tensor]


class Forward:
    """Network as a function of its parameters: `forward(parameters, images)` returns logits (n, classes).

    All modules are in eval mode except BatchNorm, which normalises by the batch's statistics, because its running
    statistics belong to other weights. Half precision is converted to float32, because small gradient steps would be
    lost in rounding. The model itself is not changed.
    """

    def __init__(self, model: nn.Module) -> None:
        self.twin = copy.deepcopy(model).eval().requires_grad_(False)
        for tensor in (*self.twin.parameters(), *self.twin.buffers()):
            tensor.data = _at_least_single(tensor.data)
        for name in batch_norms(self.twin):
            module = self.twin.get_submodule(name)
            module.train()
            module.momentum = 0.0  # type: ignore[assignment]  # keeps the unused running statistics finite
        parameters = dict(self.twin.named_parameters())
        self.buffers = {name: t for name, t in named_tensors(self.twin).items() if name not in parameters}

    def __call__(self, parameters: Tensors, images: Tensor) -> Tensor:
        """Return logits (n, classes), differentiable with respect to the parameters; images: (n, ...)."""
        return functional_call(self.twin, {**self.buffers, **parameters}, (images,))

    def loss(self, parameters: Tensors, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats per image, a scalar; labels: (n,) int64."""
        return answer_loss(self(parameters, images), labels)

    def mean_loss(self, parameters: Tensors, data: Batches) -> float:
        """Return the mean cross-entropy in nats per image over `data`, without gradients; infinite if an output is NaN.

        parameters: name -> tensor of the model's shapes.
        """
        total = 0.0
        with torch.no_grad():
            for images, labels in data.on_model(self.twin):
                total += float(answer_loss(self(parameters, images), labels, exact=True, reduction="sum"))
        return total / data.count if math.isfinite(total) else math.inf

    def losses_by_half(self, parameters: Tensors, data: Batches) -> tuple[float, ...]:
        """Return `mean_loss` on each half of `data`, or one value over all of `data` if a half has fewer than 2 images.

        parameters: name -> tensor of the model's shapes.
        """
        halves = data.halves()
        parts = halves if min(half.count for half in halves) > 1 else (data,)
        return tuple(self.mean_loss(parameters, part) for part in parts)


def without_end(data: Batches, like: nn.Module, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of equal size on the model's device without end; each epoch has a new order, given by the seed."""
    epoch = 0
    while True:
        yield from data.sample(data.count, seed * 1_000_003 + epoch).even().on_model(like)
        epoch += 1


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters by name, detached, in float32 or higher precision."""
    return {name: _at_least_single(p.detach()) for name, p in model.named_parameters()}


def _at_least_single(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32)) if tensor.is_floating_point() else tensor


def halfway(a: Tensors, b: Tensors) -> dict[str, Tensor]:
    """Return the mean of two networks' parameters; name -> tensor of any shape."""
    return {name: (tensor + b[name]) / 2 for name, tensor in a.items()}


def descend(
    leaves: Tensors, rate: float, batches: Iterator[tuple[Tensor, Tensor]], loss: Callable[[Tensor, Tensor], Tensor]
) -> Iterator[float]:
    """Run Adam on the leaves in place: each iteration takes one step and yields the loss before that step.

    Args:
        leaves: name -> tensor that requires gradients.
        rate: learning rate.
        batches: iterator of (images, labels).
        loss: loss(images, labels) is a scalar that is differentiable with respect to the leaves.
    """
    optimizer = torch.optim.Adam(list(leaves.values()), lr=rate)
    for images, labels in batches:
        optimizer.zero_grad()
        with torch.enable_grad():
            value = loss(images, labels)
            value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield float(value.detach())
