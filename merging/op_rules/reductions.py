"""Pools, and reductions that give the same in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merging.labels import Layout, fixed
from merging.op_rules.base import Operation, axes, axis, rule

_POOLS = [f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max") for n in (1, 2, 3)]
_RESIZES = [
    f"upsample_{kind}{n}d" for kind in ("nearest", "linear", "bilinear", "trilinear", "bicubic") for n in (1, 2, 3)
]
_PADS = [f"{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)]


@rule(*_POOLS, *_RESIZES, *_PADS)
def pool(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout | list[Layout]:
    """(n, channels, ...): every channel by itself, over places. The places of maxima follow."""
    places = int(op.operator.split(".")[1][-2])
    if x.rank != places + 2:
        op.refuse("its input has no batch dimension")
    for dim in x.dims[2:]:
        op.positions(dim, "slides over a dimension")
    shapes = op.shape if isinstance(op.shape, list) else [op.shape]
    results = [Layout((*x.dims[:2], *(fixed(size) for size in shape[2:]))) for shape in shapes]
    return results if isinstance(op.shape, list) else results[0]


@rule(
    "mean.default",
    "sum.default",
    "max.default",
    "min.default",
    "prod.default",
    "std.default",
    "var.default",
    "any.default",
)
def total(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """All elements to one number."""
    return Layout(())


@rule("mean.dim", "sum.dim_IntList", "amax", "amin", "logsumexp", "std.dim", "var.dim", "prod.dim_int", "any.dim")
def reduce(
    op: Operation, x: Layout, dim: int | Sequence[int] | None = None, *rest: Any, keepdim: Any = None, **options: Any
) -> Layout:
    """Over whole dimensions, in any order."""
    return _without(op, x, axes(dim, x.rank))


@rule("std.correction", "var.correction")
def spread(op: Operation, x: Layout, dim: int | Sequence[int] | None = None, **options: Any) -> Layout:
    """Standard deviation or variance over whole dimensions."""
    return _without(op, x, axes(dim, x.rank))


@rule("linalg_vector_norm", "norm.ScalarOpt_dim")
def vector_norm(
    op: Operation, x: Layout, order: Any = 2, dim: int | Sequence[int] | None = None, *rest: Any, **options: Any
) -> Layout:
    """A norm over whole dimensions."""
    return _without(op, x, axes(dim, x.rank))


@rule("cumsum", "cumprod", "argmax", "argmin", "sort", "argsort", "topk", "cummax", "cummin")
def ordered(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout | list[Layout]:
    """What depends on the order along a dimension: only where nothing is permuted."""
    for dim in x.dims:
        op.positions(dim, "depends on the order along a dimension")
    if isinstance(op.shape, list):
        return [Layout(tuple(fixed(size) for size in shape)) for shape in op.shape]
    return op.fixed_shape()


@rule("roll")
def roll(op: Operation, x: Layout, shifts: Sequence[int], dims: Sequence[int] = ()) -> Layout:
    """Dimensions turned round by some places."""
    return _in_order(op, x, axes(dims, x.rank))


@rule("flip")
def flip(op: Operation, x: Layout, dims: Sequence[int]) -> Layout:
    """Dimensions back to front."""
    return _in_order(op, x, [axis(dim, x.rank) for dim in dims])


def _in_order(op: Operation, x: Layout, dims: Sequence[int]) -> Layout:
    for dim in dims:
        op.positions(x.dims[dim], "depends on the order along a dimension")
    return x


def _without(op: Operation, x: Layout, dims: Sequence[int]) -> Layout:
    if len(op.shape) == x.rank:
        return Layout(tuple(fixed(1) if place in dims else dim for place, dim in enumerate(x.dims)))
    return Layout(tuple(dim for place, dim in enumerate(x.dims) if axis(place, x.rank) not in dims))
