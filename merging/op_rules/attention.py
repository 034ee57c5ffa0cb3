"""Attention as one operator."""

from __future__ import annotations

from typing import Any

from merging.labels import Layout
from merging.op_rules.base import Operation, rule
from merging.op_rules.elementwise import broadcast


@rule("scaled_dot_product_attention")
def attention(
    op: Operation,
    query: Layout,
    key: Layout,
    value: Layout,
    mask: Layout | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Layout:
    """softmax(query (..., l, e) key (..., s, e)^T) value (..., s, v): units e of query and key are one."""
    if dropout:
        op.refuse("it draws random numbers in eval mode too")
    op.unify(query.dims[-1], key.dims[-1])
    op.unify(key.dims[-2], value.dims[-2])
    if is_causal:
        for dim in (query.dims[-2], key.dims[-2]):
            op.positions(dim, "lets a place see the earlier ones")
    batch = broadcast(op, [Layout(layout.dims[:-2]) for layout in (query, key, value)], len(op.shape) - 2)
    if mask is not None:
        broadcast(op, [Layout((*batch.dims, query.dims[-2], key.dims[-2])), mask], len(op.shape))
    return Layout((*batch.dims, query.dims[-2], value.dims[-1]))
