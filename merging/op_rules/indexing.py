"""Looking up by fixed index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merging.labels import Layout
from merging.op_rules.base import Operation, axis, rule
from merging.op_rules.elementwise import broadcast


@rule("embedding")
def embedding(op: Operation, weight: Layout, indices: Layout, *rest: Any, **options: Any) -> Layout:
    """weight (entries, units) at indices (...): (..., units). The entries stay in their order."""
    op.labels.pin(weight.dims[0])
    return Layout((*indices.dims, weight.dims[1]))


@rule("index_select")
def index_select(op: Operation, x: Layout, dim: int, indices: Layout) -> Layout:
    """The places `indices` of one dimension."""
    op.labels.pin(x.dims[axis(dim, x.rank)])
    return x.replace(axis(dim, x.rank), indices.dims[0])


@rule("index.Tensor")
def index(op: Operation, x: Layout, indices: Sequence[Layout | None]) -> Layout:
    """x[i, :, j, ...] with neighbouring index tensors."""
    places = [place for place, indexed in enumerate(indices) if indexed is not None]
    if places != list(range(places[0], places[-1] + 1)):
        op.refuse("its index tensors are apart")
    given = [indexed for indexed in indices if indexed is not None]
    rank = max(indexed.rank for indexed in given)
    if len(op.shape) != x.rank - len(places) + rank:
        op.refuse("it indexes by truth values")
    for place in places:
        op.labels.pin(x.dims[place])
    found = broadcast(op, given, rank)
    return Layout((*x.dims[: places[0]], *found.dims, *x.dims[places[-1] + 1 :]))
