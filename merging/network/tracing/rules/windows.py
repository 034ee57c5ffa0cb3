"""Rules for operators that act along positions: pooling, resizing, padding, windows, sampling, Fourier transforms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from merging.network.tracing.labels import Layout, fixed, size_of
from merging.network.tracing.rules.base import Operation, axis, rule
from merging.network.tracing.rules.elementwise import broadcast

_POOLS = [f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max") for n in (1, 2, 3)]
_POOLS += [f"max_pool{n}d_with_indices" for n in (2, 3)]
_RESIZES = [f"{kind}{n}d" for kind in ("upsample_nearest", "_upsample_nearest_exact") for n in (1, 2, 3)]
_RESIZES += ["upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"]
_RESIZES += ["_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"]
_PADS = [f"{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)]
_SLIDES = "slides over a dimension"


@rule(*_POOLS, *_RESIZES, *_PADS)
def pool(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout | list[Layout]:
    """(n, channels, ...): each channel separately, over positions. Indices of maxima may be a second result."""
    (places,) = re.findall(r"(\d)d", op.name)
    if x.rank != int(places) + 2:
        op.refuse("its input has no batch dimension")
    for dim in x.dims[2:]:
        op.positions(dim, _SLIDES)
    shapes = op.shape if isinstance(op.shape, list) else [op.shape]
    results = [Layout((*x.dims[:2], *(fixed(size) for size in shape[2:]))) for shape in shapes]
    return results if isinstance(op.shape, list) else results[0]


@rule("max_unpool2d", "max_unpool3d")
def unpool(op: Operation, x: Layout, places: Layout, *rest: Any) -> Layout:
    """Maxima (n, channels, ...) written back at the indices that a pool of the same channels returned."""
    x = broadcast(op, [x, places], x.rank)
    for dim in x.dims[2:]:
        op.positions(dim, _SLIDES)
    return Layout((*x.dims[:2], *(fixed(size) for size in op.shape[2:])))


@rule("unfold")
def unfold(op: Operation, x: Layout, dim: int, size: int, step: int) -> Layout:
    """Windows along a dimension, with the contents of each window as a new last dimension.

    Windows that do not overlap may hold units.
    """
    place = axis(dim, x.rank)
    if size == step and size_of(x.dims[place]) % size == 0:
        windows, inside = op.labels.cut(x.dims[place], size) if size > 1 else (x.dims[place], fixed(1))
        return Layout((*x.replace(place, windows).dims, inside))
    op.positions(x.dims[place], _SLIDES)
    return Layout((*x.replace(place, fixed(op.shape[place])).dims, fixed(size)))


@rule("im2col")
def windows_as_columns(op: Operation, x: Layout, kernel: Sequence[int], *rest: Any) -> Layout:
    """Images (n, channels, h, w) as windows: (n, channels * kernel positions, windows)."""
    if x.rank != 4:
        op.refuse("its input has no batch dimension")
    for dim in x.dims[2:]:
        op.positions(dim, _SLIDES)
    columns = op.labels.product(x.dims[1], fixed(kernel[0] * kernel[1]))
    return Layout((x.dims[0], columns, fixed(op.shape[2])))


@rule("col2im")
def columns_as_pictures(op: Operation, x: Layout, size: Sequence[int], kernel: Sequence[int], *rest: Any) -> Layout:
    """Windows (n, channels * kernel positions, windows) summed where they overlap: (n, channels, h, w)."""
    if x.rank != 3:
        op.refuse("its input has no batch dimension")
    op.positions(x.dims[2], "puts windows side by side")
    channels, inside = op.labels.cut(x.dims[1], kernel[0] * kernel[1])
    op.labels.pin(inside)
    return Layout((x.dims[0], channels, *(fixed(size) for size in op.shape[2:])))


@rule("grid_sampler")
def grid_sample(op: Operation, x: Layout, grid: Layout, *rest: Any) -> Layout:
    """Images (n, channels, ...) sampled at the points of a grid (n, ..., coordinates)."""
    op.unify(x.dims[0], grid.dims[0])
    for dim in (*x.dims[2:], *grid.dims[1:]):
        op.labels.pin(dim)  # a layer may compute the coordinates, whose order matters
    return Layout((*x.dims[:2], *grid.dims[1:-1]))


@rule("affine_grid_generator")
def affine_grid(op: Operation, matrices: Layout, *rest: Any) -> Layout:
    """Grid points (n, ..., d) transformed by matrices (n, d, d + 1)."""
    for dim in matrices.dims[1:]:
        op.labels.pin(dim)
    return Layout((matrices.dims[0], *(fixed(size) for size in op.shape[1:])))


_TRANSFORMS = [f"fft_{kind}fft" for kind in ("", "i", "r", "ir", "h", "ih")]


@rule(*_TRANSFORMS)
def fourier(op: Operation, x: Layout, n: Any = None, dim: int = -1, *rest: Any) -> Layout:
    """A Fourier transform along one dimension."""
    return _transformed(op, x, (dim,))


@rule(*(f"{name}2" for name in _TRANSFORMS))
def fourier_of_pictures(op: Operation, x: Layout, s: Any = None, dim: Sequence[int] = (-2, -1), *rest: Any) -> Layout:
    """A Fourier transform along two dimensions."""
    return _transformed(op, x, dim)


@rule(*(f"{name}n" for name in _TRANSFORMS))
def fourier_of_all(op: Operation, x: Layout, s: Any = None, dim: Sequence[int] | None = None, *rest: Any) -> Layout:
    """A Fourier transform along several dimensions.

    Without `dim` these are the last len(s) dimensions if `s` is given, else all.
    """
    last = range(x.rank) if s is None else range(x.rank - len(s), x.rank)
    return _transformed(op, x, tuple(last) if dim is None else dim)


@rule("fft_fftshift", "fft_ifftshift")
def shifted(op: Operation, x: Layout, dim: int | Sequence[int] | None = None) -> Layout:
    """Frequencies in another order."""
    places = range(x.rank) if dim is None else [dim] if isinstance(dim, int) else dim
    return _transformed(op, x, tuple(places))


def _transformed(op: Operation, x: Layout, dims: Sequence[int]) -> Layout:
    for dim in dims:
        place = axis(dim, x.rank)
        op.positions(x.dims[place], "mixes all positions of a dimension")
        x = x.replace(place, fixed(op.shape[place]))
    return x
