"""Rules for reductions that do not depend on order, and for operators that depend on the order along a dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merging.network.tracing.labels import Layout, fixed
from merging.network.tracing.rules.base import Operation, axes, axis, rule
from merging.network.tracing.rules.elementwise import broadcast

_BY_VALUE = "Read the values alone and not their indices, or select by value (x >= threshold), not by rank."
_IN_ORDER = "depends on the order along a dimension"


@rule(
    "mean.default",
    "sum.default",
    "max.default",
    "min.default",
    "prod.default",
    "std.default",
    "var.default",
    "any.default",
    "all.default",
    "median.default",
    "nanmedian.default",
    "norm.Scalar",
)
def total(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """Reduce all elements to one number."""
    return Layout(())


@rule("mean.dim", "sum.dim_IntList", "amax", "amin", "logsumexp", "special_logsumexp", "std.dim", "var.dim")
@rule("prod.dim_int", "any.dim", "any.dims", "all.dim", "all.dims", "nansum", "nanmean", "count_nonzero")
@rule("std.correction", "var.correction", "frobenius_norm.dim")
def reduce(op: Operation, x: Layout, dim: int | Sequence[int] | None = None, *rest: Any, **options: Any) -> Layout:
    """Reduce whole dimensions; their order does not matter."""
    return _without(x, axes(dim, x.rank), len(op.shape))


@rule("linalg_vector_norm", "norm.ScalarOpt_dim", "linalg_norm", "quantile.scalar", "nanquantile.scalar")
def measure(
    op: Operation, x: Layout, order: Any = 2, dim: int | Sequence[int] | None = None, *rest: Any, **options: Any
) -> Layout:
    """A norm of vectors or matrices, or a quantile, over whole dimensions."""
    return _without(x, axes(dim, x.rank), len(op.shape))


@rule("linalg_matrix_norm")
def matrix_norm(op: Operation, x: Layout, order: Any = "fro", dim: Sequence[int] = (-2, -1), *rest: Any) -> Layout:
    """A norm of matrices, which does not depend on the order of rows and columns."""
    return _without(x, axes(dim, x.rank), len(op.shape))


@rule("var_mean", "std_mean", "aminmax")
def two(op: Operation, x: Layout, dim: Any = None, *rest: Any, **options: Any) -> list[Layout]:
    """Two reductions over the same dimensions.

    A bool in place of dimensions is the argument `unbiased` of the overload that reduces everything.
    """
    places = axes(None if isinstance(dim, bool) else dim, x.rank)
    return [_without(x, places, len(shape)) for shape in op.shape]


@rule("cosine_similarity")
def cosine_similarity(op: Operation, a: Layout, b: Layout, dim: int = 1, eps: float = 0.0) -> Layout:
    """The cosine similarity of two tensors along a dimension."""
    rank = max(a.rank, b.rank)
    return _without(broadcast(op, [a, b], rank), axes(dim, rank), rank - 1)


@rule("pairwise_distance")
def pairwise_distance(op: Operation, a: Layout, b: Layout, *rest: Any) -> Layout:
    """The distance between two tensors along the last dimension."""
    rank = max(a.rank, b.rank)
    return _without(broadcast(op, [a, b], rank), (rank - 1,), len(op.shape))


@rule("max.dim", "min.dim", "median.dim", "nanmedian.dim", "mode")
def extreme(op: Operation, x: Layout, dim: int = -1, keepdim: bool = False) -> list[Layout]:
    """One value along a dimension, which does not depend on order, and its index, which does."""
    if 1 in op.reads:
        op.positions(x.dims[axis(dim, x.rank)], "returns the index of a value along a dimension", _BY_VALUE)
    return [_without(x, axes(dim, x.rank), len(shape)) for shape in op.shape]


@rule("kthvalue")
def kth_value(op: Operation, x: Layout, k: int, dim: int = -1, keepdim: bool = False) -> list[Layout]:
    """The k-th smallest value along a dimension, and its index."""
    return extreme(op, x, dim, keepdim)


@rule("sort.default", "msort")
def sort(op: Operation, x: Layout, dim: int = -1, descending: bool = False) -> Any:
    """The sorted values along a dimension, which do not depend on the input's order, and their indices, which do."""
    return _ranked(op, x, 0 if op.name == "msort" else dim)


@rule("sort.stable")
def stable_sort(op: Operation, x: Layout, *, stable: Any = None, dim: int = -1, descending: bool = False) -> Any:
    """As `sort`."""
    return _ranked(op, x, dim)


@rule("topk")
def top(op: Operation, x: Layout, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> list[Layout]:
    """The k largest or smallest values along a dimension, sorted, and their indices."""
    if not sorted:
        op.positions(x.dims[axis(dim, x.rank)], _IN_ORDER, "Pass sorted=True.")
    results: list[Layout] = _ranked(op, x, dim)
    return results


@rule("argmax", "argmin", "argsort.default")
def places(op: Operation, x: Layout, dim: int | None = None, *rest: Any, **options: Any) -> Layout:
    """Indices along a dimension, or among all elements."""
    if dim is None and op.name == "argsort":
        dim = -1
    for place in axes(dim, x.rank):
        op.positions(x.dims[place], "returns the index of a value along a dimension", _BY_VALUE)
    return x if op.name == "argsort" else _without(x, axes(dim, x.rank), len(op.shape))


@rule("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin")
def cumulative(op: Operation, x: Layout, dim: int, **options: Any) -> Layout | list[Layout]:
    """For every position along a dimension, a reduction over all positions up to it."""
    op.positions(x.dims[axis(dim, x.rank)], _IN_ORDER)
    return [x, x] if isinstance(op.shape, list) else x


@rule("diff")
def difference(op: Operation, x: Layout, n: int = 1, dim: int = -1) -> Layout:
    """Differences between neighbours along a dimension."""
    place = axis(dim, x.rank)
    op.positions(x.dims[place], _IN_ORDER)
    return x.replace(place, fixed(op.shape[place]))


@rule("roll")
def roll(op: Operation, x: Layout, shifts: Sequence[int], dims: Sequence[int] = ()) -> Layout:
    """Dimensions shifted cyclically."""
    return _in_order(op, x, axes(dims, x.rank))


@rule("flip")
def flip(op: Operation, x: Layout, dims: Sequence[int]) -> Layout:
    """Dimensions reversed."""
    return _in_order(op, x, [axis(dim, x.rank) for dim in dims])


def _in_order(op: Operation, x: Layout, dims: Sequence[int]) -> Layout:
    for dim in dims:
        op.positions(x.dims[dim], _IN_ORDER)
    return x


def _ranked(op: Operation, x: Layout, dim: int) -> Any:
    place = axis(dim, x.rank)
    if 1 in op.reads:
        op.positions(x.dims[place], "returns the indices of values along a dimension", _BY_VALUE)
    if isinstance(op.shape, list):
        return [x.replace(place, fixed(shape[place])) for shape in op.shape]
    return x.replace(place, fixed(op.shape[place]))


def _without(x: Layout, dims: Sequence[int], rank: int) -> Layout:
    """Return the layout after a reduction over `dims`.

    The dimensions have size one if `rank` equals x's rank, otherwise they are removed.
    """
    if rank == x.rank:
        return Layout(tuple(fixed(1) if place in dims else dim for place, dim in enumerate(x.dims)))
    return Layout(tuple(dim for place, dim in enumerate(x.dims) if place not in dims))
