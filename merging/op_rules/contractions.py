"""Operators that sum products over a dimension: the units that are summed over meet and are gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merging.labels import Dim, Layout, fixed, size_of
from merging.op_rules.base import Operation, names_in, rule
from merging.op_rules.elementwise import broadcast


@rule("linear")
def linear(op: Operation, x: Layout, weight: Layout, bias: Layout | None = None) -> Layout:
    """x (..., in) @ weight (out, in)^T + bias (out)."""
    op.unify(x.dims[-1], weight.dims[1])
    op.contract(weight.dims[1])
    return _biased(op, Layout((*x.dims[:-1], weight.dims[0])), bias, -1)


@rule("matmul", "bmm", "mm", "mv", "dot")
def matmul(op: Operation, a: Layout, b: Layout) -> Layout:
    """a (..., n, k) @ b (..., k, m); the dimensions before are spread over each other."""
    summed = b.dims[0 if b.rank == 1 else -2]
    op.unify(a.dims[-1], summed)
    op.contract(a.dims[-1], summed)
    rows = a.dims[-2:-1]
    columns = b.dims[-1:] if b.rank > 1 else ()
    rank = max(a.rank - 2, b.rank - 2, 0)
    batch = broadcast(op, [Layout(a.dims[:-2]), Layout(b.dims[:-2])], rank)
    return Layout((*batch.dims, *rows, *columns))


@rule("addmm", "baddbmm")
def addmm(op: Operation, bias: Layout, a: Layout, b: Layout, **scales: Any) -> Layout:
    """bias + a (n, k) @ b (k, m)."""
    product = matmul(op, a, b)
    return broadcast(op, [product, bias], product.rank)


@rule("einsum")
def einsum(op: Operation, equation: str, operands: Sequence[Layout], path: Any = None) -> Layout:
    """Dimensions with one letter are one; those that are not in the result are summed over."""
    equation = equation.replace(" ", "")
    if "." in equation:
        op.refuse("it spells dimensions as dots")
    terms, _, result = equation.partition("->")
    if "->" not in equation:
        result = "".join(sorted(letter for letter in set(terms) - {","} if terms.count(letter) == 1))
    found: dict[str, Dim] = {}
    for term, operand in zip(terms.split(","), operands, strict=True):
        for letter, dim in zip(term, operand.dims, strict=True):
            if letter in found and size_of(found[letter]) > 1:
                op.unify(found[letter], dim)
            else:
                found[letter] = dim
            if letter not in result:
                op.contract(dim)
    return Layout(tuple(found[letter] for letter in result))


@rule("conv1d", "conv2d", "conv3d")
def convolution(
    op: Operation,
    x: Layout,
    weight: Layout,
    bias: Layout | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Layout:
    """x (n, in, ...) with weight (out, in / groups, ...). With groups, whole groups are permuted and, in every group
    alike, the units inside (one a group when depthwise)."""
    _pictures(op, x, weight)
    _, outer = _grouped(op, x.dims[1], groups, inner=weight.dims[1])
    op.contract(weight.dims[1])
    if groups == 1:
        made = weight.dims[0]
    else:
        op.mixed.update(names_in(weight.dims[0]))
        below = op.labels.fresh(size_of(weight.dims[0]) // groups, owned=True)
        made = op.labels.product(outer, below)
        op.unify(weight.dims[0], made)
    return _biased(op, _spatial(op, x, made), bias, 1)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed_convolution(
    op: Operation,
    x: Layout,
    weight: Layout,
    bias: Layout | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Layout:
    """x (n, in, ...) with weight (in, out / groups, ...)."""
    _pictures(op, x, weight)
    op.unify(x.dims[1], weight.dims[0])
    op.contract(weight.dims[0])
    made = weight.dims[1]
    if groups > 1:
        op.mixed.update(names_in(weight.dims[0]))
        inner = op.labels.fresh(size_of(x.dims[1]) // groups, owned=True)
        _, outer = _grouped(op, x.dims[1], groups, inner=inner)
        made = op.labels.product(outer, made)
    return _biased(op, _spatial(op, x, made), bias, 1)


def _grouped(op: Operation, channels: Dim, groups: int, inner: Dim) -> tuple[Dim, Dim]:
    """Channels as (groups, inner): the inner dimension and that of the groups."""
    outer = op.labels.fresh(groups, owned=True)
    op.unify(channels, op.labels.product(outer, inner))
    return inner, outer


def _pictures(op: Operation, x: Layout, weight: Layout) -> None:
    if x.rank != weight.rank:
        op.refuse("its input has no batch dimension")
    for dim in x.dims[2:]:
        op.positions(dim, "slides over a dimension")
    for dim in weight.dims[2:]:
        op.labels.pin(dim)  # the kernel's places


def _spatial(op: Operation, x: Layout, channels: Dim) -> Layout:
    return Layout((x.dims[0], channels, *(fixed(size) for size in op.shape[2:])))


def _biased(op: Operation, result: Layout, bias: Layout | None, place: int) -> Layout:
    if bias is not None:
        op.unify(result.dims[place], bias.dims[0])
    return result
