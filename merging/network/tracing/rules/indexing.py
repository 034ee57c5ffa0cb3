"""Rules for reading and writing by index: the indexed dimension is pinned, which means never permuted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merging.network.tracing.labels import Layout, fixed, size_of
from merging.network.tracing.rules.base import Operation, axis, rule
from merging.network.tracing.rules.elementwise import broadcast


@rule("embedding")
def embedding(op: Operation, weight: Layout, indices: Layout, *rest: Any, **options: Any) -> Layout:
    """weight (entries, units) at indices (...): (..., units). The entries are pinned."""
    op.labels.pin(weight.dims[0])
    return Layout((*indices.dims, weight.dims[1]))


@rule("embedding_bag")
def embedding_bag(
    op: Operation, weight: Layout, indices: Layout, offsets: Layout, *rest: Any, **options: Any
) -> list[Layout]:
    """Sums, means or maxima of weight (entries, units) over bags of indices.

    Results: (bags, units), and three tensors of indices and counts.
    """
    op.labels.pin(weight.dims[0])
    tensors = (indices, offsets, *(item for item in (*rest, *options.values()) if isinstance(item, Layout)))
    for dim in (dim for layout in tensors for dim in layout.dims):
        op.positions(dim, "reads the bags of a list in order")
    counts = [Layout(tuple(fixed(size) for size in shape)) for shape in op.shape[1:]]
    if len(op.shape[3]) == 2:  # the index of each maximum, per unit
        counts[2] = counts[2].replace(1, weight.dims[1])
    return [Layout((fixed(op.shape[0][0]), weight.dims[1])), *counts]


@rule("index_select")
def index_select(op: Operation, x: Layout, dim: int, indices: Layout) -> Layout:
    """The positions `indices` of one dimension."""
    op.labels.pin(x.dims[axis(dim, x.rank)])
    return x.replace(axis(dim, x.rank), indices.dims[0])


@rule("index.Tensor")
def index(op: Operation, x: Layout, indices: Sequence[Layout | None]) -> Layout:
    """x[:, i, j, ...], where the index tensors are in adjacent dimensions."""
    places = [place for place, indexed in enumerate(indices) if indexed is not None]
    if places != list(range(places[0], places[-1] + 1)):
        op.refuse("its index tensors are not in adjacent dimensions")
    tensors = [indexed for indexed in indices if indexed is not None]
    rank = max(indexed.rank for indexed in tensors)
    if len(op.shape) != x.rank - len(places) + rank:
        op.refuse("it indexes with a boolean mask")
    for place in places:
        op.labels.pin(x.dims[place])
    result = broadcast(op, tensors, rank)
    return Layout((*x.dims[: places[0]], *result.dims, *x.dims[places[-1] + 1 :]))


@rule("gather")
def gather(op: Operation, x: Layout, dim: int, indices: Layout, *rest: Any, **options: Any) -> Layout:
    """Values of x along one dimension, at a separate index for every position of the other dimensions."""
    place = axis(dim, x.rank)
    op.labels.pin(x.dims[place])
    _beside(op, place, x, indices)
    return indices


@rule("scatter.src", "scatter.value", "scatter.reduce", "scatter.value_reduce", "scatter_add", "scatter_reduce")
def scatter(op: Operation, x: Layout, dim: int, indices: Layout, source: Any, *rest: Any, **options: Any) -> Layout:
    """x with values of a source written along one dimension."""
    place = axis(dim, x.rank)
    operands = [indices, *([source] if isinstance(source, Layout) else [])]
    for layout in (x, *operands):
        op.labels.pin(layout.dims[place])
    for layout in operands:
        _beside(op, place, x, layout)
    return x


@rule("index_add", "index_copy", "index_fill", "index_reduce")
def index_write(op: Operation, x: Layout, dim: int, indices: Layout, source: Any, *rest: Any, **options: Any) -> Layout:
    """x with slices of a source written at the positions `indices` of one dimension."""
    place = axis(dim, x.rank)
    for dimension in (x.dims[place], *indices.dims):
        op.labels.pin(dimension)
    if isinstance(source, Layout) and source.rank == x.rank:
        op.labels.pin(source.dims[place])
        _beside(op, place, x, source)
    return x


@rule("index_put")
def index_put(op: Operation, x: Layout, indices: Sequence[Layout | None], values: Layout, *rest: Any) -> Layout:
    """x[i, j] = values, with integer or boolean indices."""
    for layout in (x, values, *(indexed for indexed in indices if indexed is not None)):
        for dim in layout.dims:
            op.positions(dim, "writes by index", "Write torch.where(mask, values, x) or masked_fill in its place.")
    return x


@rule("one_hot")
def one_hot(op: Operation, indices: Layout, classes: int = -1) -> Layout:
    """One-hot codes of indices along a new last dimension."""
    return Layout((*indices.dims, fixed(op.shape[-1])))


@rule("bucketize.Tensor", "searchsorted.Tensor")
def buckets(op: Operation, first: Layout, second: Layout, *rest: Any, **options: Any) -> Layout:
    """For every value, the index of its interval between sorted boundaries."""
    borders, values = (second, first) if op.name == "bucketize" else (first, second)
    if borders.rank != 1:
        op.refuse("it has separate boundaries for each row")
    op.labels.pin(borders.dims[0])
    return values


def _beside(op: Operation, place: int, x: Layout, other: Layout) -> None:
    """Unify all dimensions of two tensors except `place`.

    Where one tensor is shorter, only the first positions are read or written, so the dimension is pinned.
    """
    for number, (dim, same) in enumerate(zip(x.dims, other.dims, strict=True)):
        if number != place and size_of(dim) == size_of(same):
            op.unify(dim, same)
        elif number != place:
            op.labels.pin(dim)
            op.labels.pin(same)
