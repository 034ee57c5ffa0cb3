"""The axis that holds the images in each value of a network, found by running the network, without rules per operator.

The network runs on a few images, one of which is changed. The dimension whose size grows with the number of images
holds them, alone or as a factor of a product (tokens x images, images x windows). The indices along that dimension that
depend on the changed image show which factor counts the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from merging.network.graph import interpreter

_OTHER = 1  # index of the changed image
ROUNDING = 1e-4  # tolerance relative to a value's largest entry


@dataclass(frozen=True)
class ImageAxis:
    """The dimension of a value that holds n images.

    Image k occupies the indices (o * n + k) * inner + i with o < outer and i < inner.

    Attributes:
        dim: the dimension.
        outer: factor before the images.
        inner: factor after the images.
        alone: whether the value of one image is independent of the other images in the batch.
    """

    dim: int
    outer: int = 1
    inner: int = 1
    alone: bool = True


def image_axes(
    program: Sequence[interpreter.Step],
    runs: tuple[Mapping[str, Any], Mapping[str, Any]],
    source: str,
    shapes: Mapping[str, Any],
    nodes: set[str],
) -> dict[str, ImageAxis]:
    """Return node -> the axis of its value that holds the images; nodes without such an axis are left out.

    Returns {} where the network does not run on the number of images in `runs`.

    Args:
        program: the network's operations.
        runs: for each of two runs, the values before the first operation: node -> input, weight or constant. Only the
            inputs (count, ...), from `two_runs`, differ.
        source: the input's node.
        shapes: node -> shape of its value for another number of images, which is the first size of the input's shape.
        nodes: the nodes to examine.
    """
    spoilt = bool(runs[1][source][_OTHER].isnan().any())
    try:
        axes = _found(program, runs[1:] if spoilt else runs, source, shapes, nodes)
        if spoilt and not all(axis is not None and axis.alone for axis in axes.values()):
            axes = _found(program, runs, source, shapes, nodes)  # NaN may have another origin: compare both runs
    except (RuntimeError, IndexError):
        return {}
    return {node: axis for node, axis in axes.items() if axis is not None}


def _found(
    program: Sequence[interpreter.Step],
    runs: Sequence[Mapping[str, Any]],
    source: str,
    shapes: Mapping[str, Any],
    nodes: set[str],
) -> dict[str, ImageAxis | None]:
    """Return node -> image axis or None, as `image_axes` does.

    runs: the run with the changed image alone if that image is NaN, or the unchanged run and then the changed run.
    """
    images, count, device = shapes[source][0], len(runs[0][source]), runs[0][source].device
    axes: dict[str, ImageAxis | None] = {}
    for steps in zip(*(interpreter.walk(program, dict(values), device, nodes) for values in runs), strict=True):
        node, value = steps[-1]
        growing = [
            dim
            for dim, (old, new) in enumerate(zip(shapes[node], value.shape, strict=True))
            if old != new and old * count == new * images and new % count == 0
        ]
        differs = value.isnan() if len(steps) == 1 else _differ(steps[0][1], value)
        axes[node] = _axis(differs, growing[0], count) if len(growing) == 1 else None
    return axes


def two_runs(example: Tensor, span: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    """Return inputs (count, ...) for two runs that differ in the second image alone.

    count differs from the example's number of images. With floating-point inputs the changed image is NaN, which
    spreads to every value that depends on this image, whatever the weights are.

    Args:
        example: (n, ...).
        span: (lowest token, highest + 1) if the inputs are integers, else None.
    """
    count = 3 if len(example) != 3 else 4
    images = example[torch.arange(count, device=example.device) % len(example)]
    other = images.clone()
    if span is None:
        other[_OTHER] = torch.nan
    else:
        low, end = span
        images[:] = images[:1].clamp(low, max(end - 1, low))
        other[:] = images
        other[_OTHER] = (images[_OTHER] - low + 1) % max(end - low, 1) + low
    return images, other


def _axis(differs: Tensor, dim: int, count: int) -> ImageAxis | None:
    """Return the arrangement of `count` images along a dimension, or None where it is ambiguous.

    differs: of the value's shape, True where the changed image has an effect.
    """
    repeats = differs.shape[dim] // count
    differs = differs.movedim(dim, 0).flatten(1).any(1).cpu()
    if repeats == 1 and not differs.any():
        return ImageAxis(dim)  # the value does not depend on the images
    index = torch.arange(len(differs))
    divisors = [inner for inner in range(1, repeats + 1) if repeats % inner == 0]
    fitting = [inner for inner in divisors if not differs[index // inner % count != _OTHER].any()]
    if not fitting:
        return ImageAxis(dim, alone=False)
    return ImageAxis(dim, repeats // fitting[0], fitting[0]) if len(fitting) == 1 else None


def _differ(plain: Tensor, other: Tensor) -> Tensor:
    if not plain.is_floating_point():
        return plain != other
    rounding = ROUNDING * float(plain.detach().nan_to_num(0.0, 0.0, 0.0).abs().max()) if plain.numel() else 0.0
    return ~torch.isclose(plain, other, rtol=0.0, atol=rounding, equal_nan=True)
