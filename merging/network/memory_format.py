"""Memory format of the images that a network reads. On a CPU it decides the speed of convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Run = Callable[[Tensor], Any]  # (n, ...) images -> the network's output
# Relative to the largest output: larger than the rounding of sums in another order, too small to matter in a result.
ROUNDING = 1e-3


def fastest(model: Run, example: Tensor) -> Run:
    """Return the network as a function that reads images in its fastest memory format on a CPU.

    example: (n, channels, height, width). A `model` that is no nn.Module is returned unchanged. See `fastest_order`.
    """
    if not isinstance(model, nn.Module) or fastest_order(model, example) is torch.contiguous_format:
        return model
    return lambda images: model(images.clone(memory_format=torch.channels_last))


def fastest_order(run: Run, example: Tensor) -> torch.memory_format:
    """Return the memory format in which a CPU runs a network fastest: channels_last where that works.

    With channels_last, convolutions and pools take 1 to 3 times less time. The contiguous format is returned if the
    network cannot read channels_last images (`view` refuses them), or if its output on the example (n, ...) then
    changes by more than rounding. To find out, the network is run on the example, in the caller's grad mode.
    """
    if example.ndim != 4 or example.device.type != "cpu":
        return torch.contiguous_format
    try:
        plain, other = run(example), run(example.clone(memory_format=torch.channels_last))
    except RuntimeError:
        return torch.contiguous_format
    return torch.channels_last if _alike(plain, other) else torch.contiguous_format


def one_image(example: Tensor) -> Tensor:
    """Return one image shaped like those of the example (n, ...), on a CPU of noise: an example may be all zeros."""
    if not example.is_floating_point() or example.device.type != "cpu":
        return example[:1]
    return torch.rand(example[:1].shape, dtype=example.dtype, generator=torch.Generator().manual_seed(0))


def _alike(plain: Any, other: Any) -> bool:
    if not isinstance(plain, Tensor) or not isinstance(other, Tensor) or plain.shape != other.shape:
        return False
    bound = ROUNDING * float(plain.abs().max())
    return torch.allclose(plain, other, rtol=0, atol=bound, equal_nan=True)
