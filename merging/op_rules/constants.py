"""Tensors that come from nowhere."""

from __future__ import annotations

from typing import Any

from merging.labels import Layout
from merging.op_rules.base import Operation, rule


@rule(
    "zeros",
    "ones",
    "full",
    "scalar_tensor",
    "zeros_like",
    "ones_like",
    "full_like",
    "new_zeros",
    "new_ones",
    "new_full",
)
def constant(op: Operation, *rest: Any, **options: Any) -> Layout:
    """One value everywhere: permuting it changes nothing, so it goes along with any units."""
    return Layout(tuple(op.fresh(size) for size in op.shape))


@rule("arange", "linspace", "eye")
def numbered(op: Operation, *rest: Any, **options: Any) -> Layout:
    """Values that tell the places."""
    return op.fixed_shape()


@rule("triu", "tril", "diagonal")
def triangle(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """Rows compared with columns."""
    for dim in x.dims:
        op.positions(dim, "compares the places of two dimensions")
    return op.fixed_shape()
