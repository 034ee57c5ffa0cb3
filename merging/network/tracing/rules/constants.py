"""Rules for operators that create tensors from no input, and for triangular masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merging.network.tracing.labels import Layout
from merging.network.tracing.rules.base import Operation, rule


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
    """The same value everywhere: permuting it changes nothing, so it is compatible with any units."""
    return Layout(tuple(op.fresh(size) for size in op.shape))


@rule("arange", "linspace", "logspace", "eye", "tril_indices", "triu_indices", "hann_window", "hamming_window")
def numbered(op: Operation, *rest: Any, **options: Any) -> Layout:
    """Values that depend on the position, so nothing may be permuted."""
    return op.fixed_shape()


@rule("meshgrid")
def meshgrid(op: Operation, vectors: Sequence[Layout], indexing: str = "ij") -> list[Layout]:
    """One tensor per vector; it varies only along that vector's dimension."""
    places = list(range(len(vectors)))
    if indexing == "xy" and len(places) > 1:
        places[:2] = [1, 0]
    results = []
    for vector, place, shape in zip(vectors, places, op.shape, strict=True):
        layout = Layout(tuple(op.fresh(size) for size in shape))
        results.append(layout.replace(place, vector.dims[0]) if vector.rank else layout)
    return results


@rule("triu", "tril")
def triangle(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """A triangle of each matrix, found by comparing positions along rows and columns, the last two dimensions."""
    for dim in x.dims[-2:]:
        op.positions(dim, "compares positions along two dimensions")
    return x
