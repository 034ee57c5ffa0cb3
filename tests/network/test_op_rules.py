"""The algebra under the rules: layouts unify, split and cut as index arithmetic says."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merging.errors import UnsupportedOperation
from merging.network.tracing.labels import FIXED, Atom, Dim, Labels, Layout, LayoutConflict, fixed, join, size_of
from merging.network.tracing.rules import RULES
from merging.network.tracing.rules.base import Operation
from merging.network.tracing.rules.shapes import regroup


def order_of(labels: Labels, dim: Dim, orders: dict[int, torch.Tensor]) -> torch.Tensor:
    """The index vector by which a dimension is permuted when label l is permuted by orders[l] (drawn where new)."""
    pieces, start = [], 0
    for part in labels.resolve(dim):
        index = torch.zeros(1, dtype=torch.long)
        for atom in part:
            own = torch.arange(atom.size)
            if labels.inside(atom):
                own = order_of(labels, labels.inside(atom), orders)
            elif atom.label != FIXED:
                own = orders.setdefault(atom.label, torch.randperm(atom.size, generator=_generator(atom.label)))
            index = (index[:, None] * atom.size + own).flatten()
        pieces.append(index + start)
        start += len(index)
    return torch.cat(pieces)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def dims(draw: st.DrawFn, labels: Labels, size: int) -> Dim:
    """A random dimension of `size` indices: a label, positions, a product or a concatenation."""
    kind = draw(st.sampled_from(["label", "fixed", "product", "sum", "twice", "nested"]))
    divisors = [d for d in range(2, size) if size % d == 0]
    if kind == "product" and divisors:
        d = draw(st.sampled_from(divisors))
        return labels.product(labels.fresh(size // d, owned=True), labels.fresh(d, owned=draw(st.booleans())))
    if kind == "nested" and size % 2 == 0 and size > 4:
        rest = join([labels.fresh(2, owned=True), labels.fresh(size // 2 - 2, owned=True)])
        return labels.product(labels.fresh(2, owned=True), rest)
    if kind == "twice" and size > 2 and size % 2 == 0:
        return join([draw(dims(labels, size // 2))] * 2)
    if kind == "sum" and size > 2:
        first = draw(st.integers(1, size - 1))
        return join([labels.fresh(first, owned=True), draw(dims(labels, size - first))])
    return fixed(size) if kind == "fixed" else labels.fresh(size, owned=True)


@given(st.data(), st.sampled_from([4, 6, 8, 12]))
def test_united_dimensions_are_permuted_alike(data: st.DataObject, size: int):
    labels = Labels()
    one, other = data.draw(dims(labels, size)), data.draw(dims(labels, size))
    try:
        labels.unify(one, other)
        orders: dict[int, torch.Tensor] = {}
        assert torch.equal(order_of(labels, one, orders), order_of(labels, other, orders))
    except LayoutConflict:
        return  # refused, and so never wrong


@given(st.data(), st.sampled_from([4, 6, 12]))
def test_pieces_of_a_dimension_are_permuted_as_the_whole(data: st.DataObject, size: int):
    labels = Labels()
    dim = data.draw(dims(labels, size))
    at = data.draw(st.integers(1, size - 1))
    try:
        left, right = labels.split(dim, [at, size - at])
        orders: dict[int, torch.Tensor] = {}
        both = torch.cat([order_of(labels, left, orders), order_of(labels, right, orders) + at])
        assert torch.equal(order_of(labels, dim, orders), both)
    except LayoutConflict:
        return


SHAPES = [(2, 6, 4), (12, 4), (2, 3, 8), (48,), (2, 2, 3, 4), (2, 6, 2, 2), (4, 12), (2, 24), (1, 8, 6), (6, 1, 8)]


@given(st.sampled_from(SHAPES), st.sampled_from(SHAPES), st.data())
def test_a_view_permutes_the_same_elements(before: tuple[int, ...], after: tuple[int, ...], data: st.DataObject):
    labels = Labels()
    layout = Layout(tuple(data.draw(dims(labels, size)) if size > 1 else fixed(1) for size in before))
    try:
        viewed = regroup(labels, layout, after)
        orders: dict[int, torch.Tensor] = {}
        assert tuple(size_of(dim) for dim in viewed.dims) == after
        assert torch.equal(_moved(labels, layout, orders).view(after), _moved(labels, viewed, orders))
    except LayoutConflict:
        return


def _moved(labels: Labels, layout: Layout, orders: dict[int, torch.Tensor]) -> torch.Tensor:
    """0, 1, 2, ... in the layout's shape, permuted as it says."""
    shape = [size_of(dim) for dim in layout.dims]
    moved = torch.arange(prod(shape)).view(shape)
    for place, dim in enumerate(layout.dims):
        moved = moved.index_select(place, order_of(labels, dim, orders))
    return moved


def test_a_view_cuts_repeated_units_alike():
    labels = Labels()
    channels = labels.fresh(4, owned=True)
    viewed = regroup(labels, Layout((join([channels, channels]),)), (4, 2))
    outer, inner = labels.resolve(viewed.dims[0]), labels.resolve(viewed.dims[1])
    (channel,), (rows,) = labels.resolve(channels), outer
    assert (channel,) == labels.product((rows[1:],), inner)
    assert rows[0] == Atom(2)


def test_equal_neighbours_are_a_product():
    labels = Labels()
    units = labels.fresh(4, owned=True)
    assert labels.resolve(join([units, units, fixed(2)])) == (*labels.product(fixed(2), units), *fixed(2))


def test_channels_times_places_meets_a_flat_axis():
    labels = Labels()
    channels, flat = labels.fresh(3, owned=True), labels.fresh(12, owned=True)
    labels.unify(flat, labels.product(channels, fixed(4)))
    assert labels.resolve(flat) == labels.resolve(labels.product(channels, fixed(4)))


def test_pinning_one_of_two_united_units_pins_both():
    labels = Labels()
    one, other = labels.fresh(4, owned=True), labels.fresh(4, owned=True)
    labels.unify(one, other)
    labels.pin(one)
    assert labels.resolve(other) == fixed(4)
    assert not labels.owned(other)


def test_units_that_do_not_fit_are_a_conflict():
    labels = Labels()
    with pytest.raises(LayoutConflict, match="3 and 4"):
        labels.unify(labels.fresh(3), labels.fresh(4))


def test_every_rule_says_what_it_does():
    assert all(rule.__doc__ for rule in RULES.values())
    assert all(name == name.strip("_") or name.startswith("_") for name in RULES)


def test_a_refusal_names_the_node_the_layer_the_operator_and_the_remedy():
    operation = Operation("conv2d_3", "layer1.0.conv1", "aten.conv2d.default", (2, 4), Labels())
    with pytest.raises(
        UnsupportedOperation,
        match=r"layer1.0.conv1 \(node conv2d_3, aten.conv2d.default\).*network/tracing/rules",
    ):
        operation.refuse("of a reason")
