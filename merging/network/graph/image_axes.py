"""Where the images of a pass lie in a network's values: found by running it, so that no operator must be known.

A few images run through the network, one of them changed. The dimension whose size grows with the number of images
holds them, alone or as a factor of a product (tokens x images, images x windows). Which factor they are shows in the
indices along that dimension that the changed image reaches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from merging.network.graph import interpreter

_OTHER = 1  # the image that is changed
ROUNDING = 1e-4  # of a value's largest number


@dataclass(frozen=True)
class ImageAxis:
    """The dimension `dim` of a value that holds n images: index (o * n + image) * inner + i, with o < outer, i < inner.

    alone: whether the value of one image is the same whatever the others of the pass are.
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
    """Node -> where its value holds the images; a node whose value does not hold them is left out.

    program: the network's operations.  runs: what is known before the first operation, node -> input, weight or
    constant, for either run; only the inputs (count, ...), from `two_runs`, differ.  source: the input's node.
    shapes: node -> shape of its value for another number of images, the first of the input's shape.
    {} where the network does not run on that many images.
    """
    spoilt = bool(runs[1][source][_OTHER].isnan().any())
    try:
        axes = _found(program, runs[1:] if spoilt else runs, source, shapes, nodes)
        if spoilt and not all(axis is not None and axis.alone for axis in axes.values()):
            axes = _found(program, runs, source, shapes, nodes)  # NaN may come from elsewhere
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
    """As `image_axes`. runs: the changed images' alone where they show as NaN, or with the unchanged images' before."""
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
    """Inputs (count, ...) for two runs, count another number than the example's; they differ in the second image alone.

    example: (n, ...).  span: the lowest token and one more than the highest, where inputs are integers; pictures are
    made NaN, which spreads through all that depends on them, whatever the weights are.
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
    """The arrangement of `count` images along a dimension; None where it cannot be told.

    differs: of the value's shape, what the changed image reaches.
    """
    repeats = differs.shape[dim] // count
    differs = differs.movedim(dim, 0).flatten(1).any(1).cpu()
    if repeats == 1 and not differs.any():
        return ImageAxis(dim)  # the same for all images
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
