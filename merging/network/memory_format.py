"""Memory format of a network's input images, which decides the speed of convolutions on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

Run = Callable[[Tensor], Any]  # (n, ...) images -> the network's output
# Tolerance relative to the largest output: above the rounding error of a reordered sum, too small to affect results.
ROUNDING = 1e-3


def fastest(model: Run, example: Tensor) -> Run:
    """Return a function that runs the network on images converted to its fastest memory format on a CPU.

    example: (n, channels, height, width). A `model` that is not an nn.Module is returned unchanged.
    See `fastest_order`.
    """
    if not isinstance(model, nn.Module) or fastest_order(model, example) is torch.contiguous_format:
        return model
    return lambda images: model(images.clone(memory_format=torch.channels_last))


def fastest_order(run: Run, example: Tensor) -> torch.memory_format:
    """Return the memory format in which a CPU runs a network fastest: channels_last if it can be used.

    channels_last makes convolutions and pooling up to 3 times faster. The contiguous format is returned if the network
    cannot read channels_last images (`view` rejects them), or if channels_last changes its output on the example
    (n, ...) by more than rounding. Both checks run the network on the example, in the caller's grad mode.
    """
    if example.ndim != 4 or example.device.type != "cpu":
        return torch.contiguous_format
    try:
        plain, other = run(example), run(example.clone(memory_format=torch.channels_last))
    except RuntimeError:
        return torch.contiguous_format
    return torch.channels_last if _alike(plain, other) else torch.contiguous_format


def reads_strides(operations: Iterable[Node]) -> bool:
    """Whether an operation reads values by their positions in memory, so that its result depends on the format."""
    return any("as_strided" in str(operation.target) for operation in operations)


def two_images(example: Tensor) -> Tensor:
    """Return two images (2, ...) shaped like those of the example (n, ...): one alone can be viewed in any shape.

    On a CPU, floating-point images are random noise, because an example may be all zeros. Otherwise the example's first
    image is returned twice.
    """
    if not example.is_floating_point() or example.device.type != "cpu":
        return example[[0, 0]]
    shape = (2, *example.shape[1:])
    return torch.rand(shape, dtype=example.dtype, generator=torch.Generator().manual_seed(0))


def _alike(plain: Any, other: Any) -> bool:
    if not isinstance(plain, Tensor) or not isinstance(other, Tensor) or plain.shape != other.shape:
        return False
    bound = ROUNDING * float(plain.abs().max())
    return math.isfinite(bound) and torch.allclose(plain, other, rtol=0, atol=bound)
