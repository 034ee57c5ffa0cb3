"""Rules for operators that only move elements: views, transposes, slices, concatenations, padding."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from merging.network.tracing.labels import Dim, Labels, Layout, fixed, join, size_of
from merging.network.tracing.rules.base import Operation, Stack, axes, axis, rule


@rule(
    "view.default", "reshape", "flatten", "unflatten", "_unsafe_view", "squeeze", "unsqueeze", "view_as", "reshape_as"
)
def view(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """The same elements in row-major order, in another shape."""
    return regroup(op.labels, x, op.shape)


def regroup(labels: Labels, x: Layout, shape: Sequence[int]) -> Layout:
    """Return the layout of a row-major view of x in `shape`. Raises LayoutConflict if the view cuts through units."""
    dims = [dim for dim in x.dims if size_of(dim) > 1]
    result: list[Dim] = []
    remaining = list(shape)
    while remaining:
        if remaining[0] == 1:
            result.append(fixed(1))
            remaining.pop(0)
            continue
        sizes, merged = [remaining.pop(0)], dims.pop(0)
        while prod(sizes) != size_of(merged):
            if prod(sizes) < size_of(merged):
                sizes.append(remaining.pop(0))
            else:
                merged = labels.product(merged, dims.pop(0))
        result += _cut(labels, merged, sizes)
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
    """Two dimensions swapped."""
    dims = list(x.dims)
    first, second = axis(first, x.rank), axis(second, x.rank)
    dims[first], dims[second] = dims[second], dims[first]
    return Layout(tuple(dims))


@rule("t", "numpy_T")
def turned(op: Operation, x: Layout) -> Layout:
    """All dimensions in reverse order."""
    return Layout(x.dims[::-1])


@rule("mT", "mH", "adjoint")
def matrices_turned(op: Operation, x: Layout) -> Layout:
    """The last two dimensions swapped."""
    return transpose(op, x, -2, -1)


@rule("movedim", "moveaxis")
def move(op: Operation, x: Layout, source: int | Sequence[int], destination: int | Sequence[int]) -> Layout:
    """Some dimensions moved to other places; the others keep their order."""
    sources = dict(zip(axes(destination, x.rank), axes(source, x.rank), strict=True))
    rest = iter([place for place in range(x.rank) if place not in sources.values()])
    return Layout(tuple(x.dims[sources[place] if place in sources else next(rest)] for place in range(x.rank)))


@rule("diagonal")
def diagonal(op: Operation, x: Layout, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Layout:
    """The diagonal along two dimensions, which share one permutation, as a new last dimension."""
    first, second = axis(dim1, x.rank), axis(dim2, x.rank)
    rest = [dim for place, dim in enumerate(x.dims) if place not in (first, second)]
    if offset or size_of(x.dims[first]) != size_of(x.dims[second]):
        for place in (first, second):
            op.positions(x.dims[place], "compares positions along two dimensions")
        return Layout((*rest, fixed(op.shape[-1])))
    op.unify(x.dims[first], x.dims[second])
    return Layout((*rest, x.dims[first]))


@rule("diag_embed")
def diagonal_matrices(op: Operation, x: Layout, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Layout:
    """Matrices with the last dimension on their diagonal."""
    if offset or axis(dim1, x.rank + 1) != x.rank - 1 or axis(dim2, x.rank + 1) != x.rank:
        op.positions(x.dims[-1], "puts a dimension off the diagonal")
        op.refuse("it puts a dimension off the diagonal")
    return Layout((*x.dims, x.dims[-1]))


@rule("expand", "expand_as", "broadcast_to")
def expand(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """Dimensions of size one, and new leading ones, repeated: all values along them are the same."""
    before = [fixed(1)] * (len(op.shape) - x.rank)
    dims = zip([*before, *x.dims], op.shape, strict=True)
    return Layout(tuple(op.fresh(size) if size_of(dim) == 1 else dim for dim, size in dims))


@rule("repeat", "tile")
def repeat(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """Every dimension repeated as a whole."""
    before = [fixed(1)] * (len(op.shape) - x.rank)
    dims = zip([*before, *x.dims], op.shape, strict=True)
    return Layout(tuple(op.fresh(n) if size_of(dim) == 1 else join([dim] * (n // size_of(dim))) for dim, n in dims))


@rule("repeat_interleave.self_int")
def repeat_interleave(op: Operation, x: Layout, repeats: int, dim: int | None = None, **options: Any) -> Layout:
    """Every index of a dimension repeated several times in a row."""
    if dim is None:
        x, dim = regroup(op.labels, x, (prod(size_of(dim) for dim in x.dims),)), 0
    place = axis(dim, x.rank)
    return x.replace(place, op.labels.product(x.dims[place], op.fresh(repeats)))


@rule("view_as_complex")
def view_as_complex(op: Operation, x: Layout) -> Layout:
    """Pairs along the last dimension as one complex number."""
    op.labels.pin(x.dims[-1])
    return Layout(x.dims[:-1])


@rule("view_as_real")
def view_as_real(op: Operation, x: Layout) -> Layout:
    """One complex number as a pair along a new last dimension."""
    return Layout((*x.dims, fixed(2)))


@rule("cat", "concat", "concatenate")
def cat(op: Operation, tensors: Sequence[Layout], dim: int = 0) -> Layout:
    """Tensors concatenated along a dimension; the other dimensions are unified."""
    place = axis(dim, len(op.shape))
    tensors = [tensor for tensor in tensors if tensor.rank == len(op.shape)]
    first = tensors[0]
    for tensor in tensors[1:]:
        for other in range(first.rank):
            if other != place:
                op.unify(first.dims[other], tensor.dims[other])
    return first.replace(place, join([tensor.dims[place] for tensor in tensors]))


@rule("hstack", "vstack", "row_stack", "dstack", "column_stack")
def cat_along(op: Operation, tensors: Sequence[Layout]) -> Layout:
    """Tensors concatenated along the dimension that the operator's name implies."""
    place = {"vstack": 0, "row_stack": 0, "dstack": 2}.get(op.name, 1)
    if any(tensor.rank != len(op.shape) for tensor in tensors):
        op.refuse("it adds dimensions to its tensors", "Write torch.cat or torch.stack in its place.")
    return cat(op, tensors, place)


@rule("stack")
def stack(op: Operation, tensors: Sequence[Layout], dim: int = 0) -> Layout:
    """Tensors stacked along a new dimension."""
    for tensor in tensors[1:]:
        for one, other in zip(tensors[0].dims, tensor.dims, strict=True):
            op.unify(one, other)
    dims = list(tensors[0].dims)
    dims.insert(axis(dim, len(op.shape)), fixed(len(tensors)))
    return Layout(tuple(dims))


@rule("chunk", "split.Tensor", "split_with_sizes", "split.sizes", "unsafe_chunk", "unsafe_split")
@rule("tensor_split.sections", "tensor_split.indices")
def split(op: Operation, x: Layout, how: Any, dim: int = 0) -> list[Layout]:
    """Consecutive pieces of a dimension."""
    place = axis(dim, x.rank)
    pieces = op.labels.split(x.dims[place], [shape[place] for shape in op.shape])
    return [x.replace(place, piece) for piece in pieces]


@rule("hsplit", "vsplit", "dsplit")
def split_along(op: Operation, x: Layout, how: Any) -> list[Layout]:
    """Consecutive pieces of the dimension that the operator's name implies."""
    return split(op, x, how, {"hsplit": min(1, x.rank - 1), "vsplit": 0}.get(op.name, 2))


@rule("unbind", stacks=True)
def unbind(op: Operation, x: Layout | Stack, dim: int = 0) -> list[Layout]:
    """All indices of a dimension, as separate tensors."""
    if isinstance(x, Stack):
        if dim == 0:
            return list(x.parts)
        x = x.united(op.labels)
    return [_without(op, x, axis(dim, x.rank), index) for index in range(len(op.shape))]


@rule("select.int", stacks=True)
def select(op: Operation, x: Layout | Stack, dim: int, index: int) -> Layout:
    """One index of a dimension."""
    if isinstance(x, Stack):
        if dim == 0:
            return x.parts[index]
        x = x.united(op.labels)
    place = axis(dim, x.rank)
    return _without(op, x, place, index % size_of(x.dims[place]))


@rule("slice.Tensor", "narrow", stacks=True)
def slice_(
    op: Operation, x: Layout | Stack, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Layout | Stack:
    """A range of a dimension. Its length is read from the result, because `narrow` has a length in place of `end`."""
    if isinstance(x, Stack):
        if dim == 0 and step == 1:
            first = min(max((start or 0) + (len(x.parts) if (start or 0) < 0 else 0), 0), len(x.parts))
            return Stack(x.parts[first : first + op.shape[0]])
        x = x.united(op.labels)
    place = axis(dim, x.rank)
    size, length = size_of(x.dims[place]), op.shape[axis(dim, x.rank)]
    if size == length:
        return x
    if step != 1:
        return x.replace(place, _every(op, x.dims[place], start or 0, step, length))
    start = min(max((start or 0) + (size if (start or 0) < 0 else 0), 0), size)
    _, piece, _ = op.labels.split(x.dims[place], [start, length, size - start - length])
    return x.replace(place, piece)


@rule("pad", "constant_pad_nd")
def pad(op: Operation, x: Layout, widths: Sequence[int], mode: Any = "constant", value: Any = None) -> Layout:
    """A constant before and after dimensions; the widths start at the last dimension."""
    dims = list(x.dims)
    for number in range(len(widths) // 2):
        place, (before, after) = x.rank - 1 - number, widths[2 * number : 2 * number + 2]
        if not before and not after:
            continue
        cuts = before < 0 or after < 0 or (isinstance(mode, str) and mode != "constant")
        if cuts or not op.labels.owned(dims[place]):  # a border of an image adds positions, not units
            op.positions(dims[place], "cuts off or repeats the ends of a dimension")
            dims[place] = fixed(op.shape[place])
        else:
            ends = [op.fresh(width) if width else () for width in (before, after)]
            dims[place] = join([ends[0], dims[place], ends[1]])
    return Layout(tuple(dims))


@rule("pixel_shuffle")
def pixel_shuffle(op: Operation, x: Layout, factor: int) -> Layout:
    """(n, channels * factor^2, h, w) to (n, channels, h * factor, w * factor)."""
    _refuse_single(op, x)
    for dim in x.dims[2:]:
        op.positions(dim, "moves channels to positions")
    channels, places = op.labels.cut(x.dims[1], factor * factor)
    op.labels.pin(places)
    return Layout((x.dims[0], channels, *(fixed(size) for size in op.shape[2:])))


@rule("pixel_unshuffle")
def pixel_unshuffle(op: Operation, x: Layout, factor: int) -> Layout:
    """(n, channels, h * factor, w * factor) to (n, channels * factor^2, h, w)."""
    _refuse_single(op, x)
    for dim in x.dims[2:]:
        op.positions(dim, "moves positions to channels")
    channels = op.labels.product(x.dims[1], fixed(factor * factor))
    return Layout((x.dims[0], channels, *(fixed(size) for size in op.shape[2:])))


@rule("channel_shuffle")
def channel_shuffle(op: Operation, x: Layout, groups: int) -> Layout:
    """Channels (groups, inner) to (inner, groups)."""
    outer, inner = op.labels.cut(x.dims[1], size_of(x.dims[1]) // groups)
    return x.replace(1, op.labels.product(inner, outer))


def _refuse_single(op: Operation, x: Layout) -> None:
    if x.rank != 4:
        op.refuse("its input is not (images, channels, height, width)")


def _every(op: Operation, dim: Dim, start: int, step: int, length: int) -> Dim:
    """Return every `step`-th index: one index per group of neighbours, if the units divide into such groups.

    Otherwise the dimension must hold positions, not units.
    """
    if op.labels.owned(dim) and size_of(dim) % step == 0 and 0 <= start < step and length == size_of(dim) // step:
        groups, inside = op.labels.cut(dim, step)
        op.labels.split(inside, [start, 1, step - start - 1])
        return groups
    op.positions(dim, f"takes one of {step} indices of a dimension")
    return fixed(length)


def _without(op: Operation, x: Layout, place: int, index: int) -> Layout:
    op.labels.split(x.dims[place], [index, 1, size_of(x.dims[place]) - index - 1])
    return Layout(x.dims[:place] + x.dims[place + 1 :])
