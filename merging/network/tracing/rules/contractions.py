"""Rules for operators that sum products over a dimension: the units along it are unified and then disappear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merging.network.tracing.labels import Dim, Layout, fixed, size_of
from merging.network.tracing.rules.base import Operation, axis, names_in, rule
from merging.network.tracing.rules.elementwise import broadcast


@rule("linear")
def linear(op: Operation, x: Layout, weight: Layout, bias: Layout | None = None) -> Layout:
    """x (..., in) @ weight (out, in)^T + bias (out)."""
    op.unify(x.dims[-1], weight.dims[1])
    op.contract(weight.dims[1])
    return _biased(op, Layout((*x.dims[:-1], weight.dims[0])), bias, -1)


@rule("matmul", "bmm", "mm", "mv", "dot", "vdot")
def matmul(op: Operation, a: Layout, b: Layout) -> Layout:
    """a (..., n, k) @ b (..., k, m); the leading dimensions are broadcast."""
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
    """Dimensions with the same letter are unified; those that are not in the result are summed over.

    Dots stand for the dimensions without a letter, which are broadcast from the right.
    """
    terms, arrow, result = equation.replace(" ", "").partition("->")
    spelled = [_letters(term, operand.rank) for term, operand in zip(terms.split(","), operands, strict=True)]
    listed = [letter for letters in spelled for letter in letters]
    if arrow:
        output = _letters(result, len(op.shape))
    else:  # the dots first, then letters that occur once, in alphabetical order
        dots = sorted({letter for letter in listed if isinstance(letter, int)})
        output = [*dots, *sorted(one for one in set(listed) if isinstance(one, str) and listed.count(one) == 1)]
    by_letter: dict[str | int, Dim] = {}
    for letters, operand in zip(spelled, operands, strict=True):
        for letter, dim in zip(letters, operand.dims, strict=True):
            if letter in by_letter and size_of(by_letter[letter]) > 1:
                op.unify(by_letter[letter], dim)
            else:
                by_letter[letter] = dim
            if letter not in output:
                op.contract(dim)
    return Layout(tuple(by_letter[letter] for letter in output))


def _letters(term: str, rank: int) -> list[str | int]:
    """Return the name of each dimension of a term: its letter, or its negative position if dots cover it."""
    before, dots, after = term.partition("...")
    if not dots:
        return list(term)
    return [*before, *range(len(before) + len(after) - rank, 0), *after]


@rule("tensordot")
def tensordot(op: Operation, a: Layout, b: Layout, dims: Sequence[int], others: Sequence[int]) -> Layout:
    """Sum over pairs of dimensions of a and b. Result: the other dimensions of a, then those of b."""
    places, places_b = ([axis(dim, layout.rank) for dim in each] for layout, each in ((a, dims), (b, others)))
    for dim, other in zip(places, places_b, strict=True):
        op.unify(a.dims[dim], b.dims[other])
        op.contract(a.dims[dim], b.dims[other])
    rest = [dim for place, dim in enumerate(a.dims) if place not in places]
    return Layout((*rest, *(dim for place, dim in enumerate(b.dims) if place not in places_b)))


@rule("outer", "ger")
def outer(op: Operation, a: Layout, b: Layout) -> Layout:
    """All products of a (n) and b (m): (n, m)."""
    return Layout((*a.dims, *b.dims))


@rule("bilinear")
def bilinear(op: Operation, a: Layout, b: Layout, weight: Layout, bias: Layout | None = None) -> Layout:
    """a (..., i) and b (..., j) with weight (out, i, j) and bias (out)."""
    for layout, dim in ((a, 1), (b, 2)):
        op.unify(layout.dims[-1], weight.dims[dim])
        op.contract(weight.dims[dim])
    batch = broadcast(op, [Layout(a.dims[:-1]), Layout(b.dims[:-1])], a.rank - 1)
    return _biased(op, Layout((*batch.dims, weight.dims[0])), bias, -1)


@rule("cdist")
def distances(op: Operation, a: Layout, b: Layout, *rest: Any, **options: Any) -> Layout:
    """Distances between all rows of a (..., n, k) and all rows of b (..., m, k): (..., n, m)."""
    op.unify(a.dims[-1], b.dims[-1])
    batch = broadcast(op, [Layout(a.dims[:-2]), Layout(b.dims[:-2])], len(op.shape) - 2)
    return Layout((*batch.dims, a.dims[-2], b.dims[-2]))


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
    """x (n, in, ...) with weight (out, in / groups, ...).

    With groups, whole groups are permuted, and inside every group the units are permuted in the same way (one unit per
    group if the convolution is depthwise).
    """
    spatial = _spatial_dims(op, x, weight, stride, padding)
    _, outer = _grouped(op, x.dims[1], groups, inner=weight.dims[1])
    op.contract(weight.dims[1])
    if groups == 1:
        channels = weight.dims[0]
    else:
        op.mixed.update(names_in(weight.dims[0]))
        below = op.labels.fresh(size_of(weight.dims[0]) // groups, owned=True)
        channels = op.labels.product(outer, below)
        op.unify(weight.dims[0], channels)
    return _biased(op, Layout((x.dims[0], channels, *spatial)), bias, 1)


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
    spatial = _spatial_dims(op, x, weight, stride, padding)
    op.unify(x.dims[1], weight.dims[0])
    op.contract(weight.dims[0])
    channels = weight.dims[1]
    if groups > 1:
        op.mixed.update(names_in(weight.dims[0]))
        inner = op.labels.fresh(size_of(x.dims[1]) // groups, owned=True)
        _, outer = _grouped(op, x.dims[1], groups, inner=inner)
        channels = op.labels.product(outer, channels)
    return _biased(op, Layout((x.dims[0], channels, *spatial)), bias, 1)


def _grouped(op: Operation, channels: Dim, groups: int, inner: Dim) -> tuple[Dim, Dim]:
    """Factor channels as (groups, inner), and return the inner dimension and the dimension of the groups."""
    outer = op.labels.fresh(groups, owned=True)
    op.unify(channels, op.labels.product(outer, inner))
    return inner, outer


def _spatial_dims(op: Operation, x: Layout, weight: Layout, stride: Any, padding: Any) -> list[Dim]:
    """Return the result's spatial dimensions. A kernel of size one treats each position separately and keeps them."""
    if x.rank != weight.rank:
        op.refuse("its input has no batch dimension")
    spatial: list[Dim] = []
    steps, borders = (_each(setting, x.rank - 2) for setting in (stride, padding))
    for dim, kernel, step, border, size in zip(x.dims[2:], weight.dims[2:], steps, borders, op.shape[2:], strict=True):
        if size_of(kernel) == 1 and step == 1 and border in (0, "same", "valid") and size == size_of(dim):
            spatial.append(dim)
            continue
        op.positions(dim, "slides over a dimension")
        op.labels.pin(kernel)
        spatial.append(fixed(size))
    return spatial


def _each(setting: Any, count: int) -> list[Any]:
    """Return a setting for each spatial dimension; a single value applies to all."""
    listed = list(setting) if isinstance(setting, (list, tuple)) else [setting]
    return listed * count if len(listed) == 1 else listed


def _biased(op: Operation, result: Layout, bias: Layout | None, place: int) -> Layout:
    if bias is not None:
        op.unify(result.dims[place], bias.dims[0])
    return result
