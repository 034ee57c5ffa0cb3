"""The rule for attention as a single operator."""

from __future__ import annotations

from merging.network.tracing.labels import Layout, size_of
from merging.network.tracing.rules.base import IN_TRAINING, Operation, rule
from merging.network.tracing.rules.elementwise import broadcast


@rule("scaled_dot_product_attention")
def attention(
    op: Operation,
    query: Layout,
    key: Layout,
    value: Layout,
    mask: Layout | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Layout:
    """softmax(query (..., l, e) key (..., s, e)^T) value (..., s, v). Query and key share the units along e.

    enable_gqa: each head of key and value (dimension -3) is read by several neighbouring heads of the query.
    """
    if dropout:
        op.refuse("it draws random numbers in eval mode too", IN_TRAINING)
    op.unify(query.dims[-1], key.dims[-1])
    op.unify(key.dims[-2], value.dims[-2])
    if is_causal:
        for dim in (query.dims[-2], key.dims[-2]):
            op.positions(dim, "lets each position attend to earlier positions only")
    heads = [Layout(layout.dims[:-2]) for layout in (query, key, value)]
    if enable_gqa:
        heads = [heads[0], *(_repeated(op, layout, size_of(query.dims[-3])) for layout in heads[1:])]
    batch = broadcast(op, heads, len(op.shape) - 2)
    if mask is not None:
        broadcast(op, [Layout((*batch.dims, query.dims[-2], key.dims[-2])), mask], len(op.shape))
    return Layout((*batch.dims, query.dims[-2], value.dims[-1]))


def _repeated(op: Operation, batch: Layout, heads: int) -> Layout:
    """Return a layout (..., `heads`) in which each head of the keys is repeated equally often, consecutively."""
    own = batch.dims[-1]
    return batch.replace(-1, op.labels.product(own, op.fresh(heads // size_of(own))))
