"""Operators that only move elements: views, transposes, slices, concatenations, padding."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from merging.labels import Dim, Labels, Layout, fixed, join, size_of
from merging.op_rules.base import Operation, axis, rule


@rule(
    "view.default", "reshape", "flatten", "unflatten", "_unsafe_view", "squeeze", "unsqueeze", "view_as", "reshape_as"
)
def view(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """The same elements in row-major order in another shape."""
    return regroup(op.labels, x, op.shape)


def regroup(labels: Labels, x: Layout, shape: Sequence[int]) -> Layout:
    """The layout of a row-major view of x in `shape`. Raises LayoutConflict where it cuts units across."""
    dims = [dim for dim in x.dims if size_of(dim) > 1]
    result: list[Dim] = []
    wanted = list(shape)
    while wanted:
        if wanted[0] == 1:
            result.append(fixed(1))
            wanted.pop(0)
            continue
        taken, merged = [wanted.pop(0)], dims.pop(0)
        while prod(taken) != size_of(merged):
            if prod(taken) < size_of(merged):
                taken.append(wanted.pop(0))
            else:
                merged = labels.product(merged, dims.pop(0))
        result += _cut(labels, merged, taken)
    return Layout(tuple(result))


def _cut(labels: Labels, dim: Dim, sizes: list[int]) -> list[Dim]:
    if len(sizes) == 1:
        return [dim]
    inner = prod(sizes[1:])
    outer, below = labels.cut(dim, inner) if inner > 1 else (dim, fixed(1))
    return [outer, *_cut(labels, below, sizes[1:])]


@rule("permute")
def permute(op: Operation, x: Layout, dims: Sequence[int]) -> Layout:
    """The dimensions in another order."""
    return Layout(tuple(x.dims[axis(dim, x.rank)] for dim in dims))


@rule("transpose.int", "swapaxes", "swapdims")
def transpose(op: Operation, x: Layout, first: int, second: int) -> Layout:
    """Two dimensions exchanged."""
    dims = list(x.dims)
    first, second = axis(first, x.rank), axis(second, x.rank)
    dims[first], dims[second] = dims[second], dims[first]
    return Layout(tuple(dims))


@rule("t", "numpy_T", "mT")
def turned(op: Operation, x: Layout) -> Layout:
    """A matrix turned over."""
    if x.rank > 2:
        op.refuse("it turns more than two dimensions")
    return Layout(x.dims[::-1])


@rule("movedim.int")
def move(op: Operation, x: Layout, source: int, destination: int) -> Layout:
    """One dimension put in another place."""
    dims = list(x.dims)
    dims.insert(axis(destination, x.rank), dims.pop(axis(source, x.rank)))
    return Layout(tuple(dims))


@rule("expand", "expand_as", "broadcast_to")
def expand(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """Dimensions of size one, and new ones in front, are repeated: the values along them are all the same."""
    before = [fixed(1)] * (len(op.shape) - x.rank)
    dims = zip([*before, *x.dims], op.shape, strict=True)
    return Layout(tuple(op.fresh(size) if size_of(dim) == 1 else dim for dim, size in dims))


@rule("repeat", "tile")
def repeat(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """Every dimension some times over."""
    before = [fixed(1)] * (len(op.shape) - x.rank)
    dims = zip([*before, *x.dims], op.shape, strict=True)
    return Layout(tuple(op.fresh(n) if size_of(dim) == 1 else join([dim] * (n // size_of(dim))) for dim, n in dims))


@rule("cat")
def cat(op: Operation, tensors: Sequence[Layout], dim: int = 0) -> Layout:
    """Side by side along a dimension; the others are one."""
    place = axis(dim, len(op.shape))
    tensors = [tensor for tensor in tensors if tensor.rank == len(op.shape)]
    first = tensors[0]
    for tensor in tensors[1:]:
        for other in range(first.rank):
            if other != place:
                op.unify(first.dims[other], tensor.dims[other])
    return first.replace(place, join([tensor.dims[place] for tensor in tensors]))


@rule("stack")
def stack(op: Operation, tensors: Sequence[Layout], dim: int = 0) -> Layout:
    """Side by side along a new dimension."""
    for tensor in tensors[1:]:
        for one, other in zip(tensors[0].dims, tensor.dims, strict=True):
            op.unify(one, other)
    dims = list(tensors[0].dims)
    dims.insert(axis(dim, len(op.shape)), fixed(len(tensors)))
    return Layout(tuple(dims))


@rule(
    "chunk", "split.Tensor", "split_with_sizes", "split.sizes", "tensor_split.sections", "unsafe_chunk", "unsafe_split"
)
def split(op: Operation, x: Layout, how: Any, dim: int = 0) -> list[Layout]:
    """Consecutive pieces of a dimension."""
    place = axis(dim, x.rank)
    pieces = op.labels.split(x.dims[place], [shape[place] for shape in op.shape])
    return [x.replace(place, piece) for piece in pieces]


@rule("unbind")
def unbind(op: Operation, x: Layout, dim: int = 0) -> list[Layout]:
    """Every index of a dimension by itself."""
    return [_without(op, x, axis(dim, x.rank), index) for index in range(len(op.shape))]


@rule("select.int")
def select(op: Operation, x: Layout, dim: int, index: int) -> Layout:
    """One index of a dimension."""
    place = axis(dim, x.rank)
    return _without(op, x, place, index % size_of(x.dims[place]))


@rule("slice.Tensor", "narrow")
def slice_(op: Operation, x: Layout, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Layout:
    """A part of a dimension; for `narrow` the fourth argument is a length, so that the result's shape decides."""
    place = axis(dim, x.rank)
    size, length = size_of(x.dims[place]), op.shape[axis(dim, x.rank)]
    if size == length:
        return x
    if step != 1:
        op.positions(x.dims[place], f"takes every {step}th index of a dimension")
        return x.replace(place, fixed(length))
    start = min(max((start or 0) + (size if (start or 0) < 0 else 0), 0), size)
    _, piece, _ = op.labels.split(x.dims[place], [start, length, size - start - length])
    return x.replace(place, piece)


@rule("pad", "constant_pad_nd")
def pad(op: Operation, x: Layout, widths: Sequence[int], mode: Any = "constant", value: Any = None) -> Layout:
    """A constant before and after dimensions, the last one first."""
    dims = list(x.dims)
    for number in range(len(widths) // 2):
        place, (before, after) = x.rank - 1 - number, widths[2 * number : 2 * number + 2]
        if not before and not after:
            continue
        cuts = before < 0 or after < 0 or (isinstance(mode, str) and mode != "constant")
        if cuts or not op.labels.owned(dims[place]):  # the border of a picture is a place, no unit
            op.positions(dims[place], "cuts a dimension's ends or repeats them")
            dims[place] = fixed(op.shape[place])
        else:
            ends = [op.fresh(width) if width else () for width in (before, after)]
            dims[place] = join([ends[0], dims[place], ends[1]])
    return Layout(tuple(dims))


@rule("pixel_shuffle")
def pixel_shuffle(op: Operation, x: Layout, factor: int) -> Layout:
    """(n, channels * factor^2, h, w) to (n, channels, h * factor, w * factor)."""
    for dim in x.dims[2:]:
        op.positions(dim, "moves channels into places")
    channels, places = op.labels.cut(x.dims[1], factor * factor)
    op.labels.pin(places)
    return Layout((x.dims[0], channels, *(fixed(size) for size in op.shape[2:])))


@rule("channel_shuffle")
def channel_shuffle(op: Operation, x: Layout, groups: int) -> Layout:
    """Channels (groups, inner) to (inner, groups)."""
    outer, inner = op.labels.cut(x.dims[1], size_of(x.dims[1]) // groups)
    return x.replace(1, op.labels.product(inner, outer))


def _without(op: Operation, x: Layout, place: int, index: int) -> Layout:
    op.labels.split(x.dims[place], [index, 1, size_of(x.dims[place]) - index - 1])
    return Layout(x.dims[:place] + x.dims[place + 1 :])
