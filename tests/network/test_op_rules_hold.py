"""The law of every rule, by numbers: inputs permuted as their layouts say give the result permuted as its own says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from merging.errors import UnsupportedOperation
from merging.network.tracing.labels import Dim, Labels, Layout, fixed, join, size_of
from merging.network.tracing.rules import RULES, Operation
from merging.network.tracing.rules.base import TAKES_STACKS, Stack
from merging.network.tracing.rules.elementwise import SEVERAL, UNARY
from tests.nets.operator_cases import CASES, missing
from tests.network.test_op_rules import order_of

DRAWS, FEW = 32, 16  # of layouts per operator; per operator that treats every element alike
# Rules that never carry a permutation: their results tell places, or have no dimension.
STILL = {"arange", "linspace", "logspace", "eye", "tril_indices", "triu_indices", "hann_window", "hamming_window"}
STILL |= {"scalar_tensor", "index_put"}


class Draw:
    """Random layouts for the tensors of a call, and what becomes of the call when all units are permuted."""

    def __init__(self, seed: int) -> None:
        self.rng, self.labels = np.random.default_rng(seed), Labels()
        self.plain = seed % 4 == 3  # nothing is permuted: no rule may refuse that
        self.known: dict[int, list[Dim]] = {}
        self.given: list[tuple[Tensor, Layout]] = []

    def layout(self, value: Any) -> Any:
        """The arguments with a layout for every tensor; tensors are made equal along what is uniform."""
        if isinstance(value, Tensor):
            layout = Layout(tuple(self.dim(size) for size in value.shape))
            for place, dim in enumerate(layout.dims):
                if value.shape[place] > 1 and self.labels.uniform(dim):
                    value.copy_(value.narrow(place, 0, 1).clone().expand_as(value))
            self.given.append((value, layout))
            return layout
        if isinstance(value, (list, tuple)):
            return [self.layout(item) for item in value]
        return {key: self.layout(item) for key, item in value.items()} if isinstance(value, dict) else value

    def dim(self, size: int) -> Dim:
        """A dimension: places, units of its own or of a tensor before, products and concatenations, equal values."""
        if size == 1 or self.plain or self.rng.random() < 0.5:
            return fixed(size)
        kind, known = self.rng.integers(7), self.known.setdefault(size, [])
        if kind < 2 and known:
            return known[self.rng.integers(len(known))]
        if kind == 2 and size % 2 == 0 and size > 2:
            new = self.labels.product(self.labels.fresh(2, owned=True), self.labels.fresh(size // 2, owned=True))
        elif kind == 3 and size > 3:
            new = join([self.labels.fresh(2, owned=True), self.labels.fresh(size - 2, owned=True)])
        elif kind == 5 and size % 2 == 0 and size > 4:
            inner = join([self.labels.fresh(2, owned=True), self.labels.fresh(size // 2 - 2, owned=True)])
            new = self.labels.product(self.labels.fresh(2, owned=True), inner)
        elif kind == 4 and size % 2 == 0 and size > 2:
            new = join([self.labels.fresh(size // 2, owned=True)] * 2)
        else:
            new = self.labels.fresh(size, owned=bool(self.rng.random() < 0.8))
        known.append(new)
        return new

    def permuted(self, value: Any, orders: dict[int, Tensor]) -> Any:
        """The arguments with every tensor permuted as its layout says by now."""
        if isinstance(value, Tensor):
            return _moved(value, self.given.pop(0)[1], self.labels, orders)
        if isinstance(value, (list, tuple)):
            return [self.permuted(item, orders) for item in value]
        return {key: self.permuted(item, orders) for key, item in value.items()} if isinstance(value, dict) else value


def _moved(value: Tensor, layout: Layout, labels: Labels, orders: dict[int, Tensor]) -> Tensor:
    for place, dim in enumerate(layout.dims):
        value = value.index_select(place, order_of(labels, dim, orders))
    return value


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _outcomes(name: str) -> Iterator[bool]:
    """Hold one rule to the law in several draws: whether anything moved, where it was not refused."""
    operator = getattr(torch.ops.aten, name.split(".")[0])
    for seed in range(FEW if name in UNARY.split() + SEVERAL.split() else DRAWS):
        args, kwargs = CASES[name]()
        draw = Draw(seed)
        layouts, options = draw.layout(args), draw.layout(kwargs)
        before = operator(*args, **kwargs)
        several = isinstance(before, (list, tuple))
        shape = [tuple(one.shape) for one in before] if several else tuple(before.shape)
        reads = frozenset(range(len(before) if several and seed % 2 else 1))
        op = Operation(name, name, f"aten.{name}", shape, draw.labels, reads=reads)
        try:
            results = _listed(RULES[name](op, *layouts, **options))
            results = [one.united(draw.labels) if isinstance(one, Stack) else one for one in results]
        except UnsupportedOperation:
            assert not draw.plain, "refused where nothing is permuted"
            continue
        orders: dict[int, Tensor] = {}
        moved_args = draw.permuted(args, orders)
        after = _listed(operator(*moved_args, **draw.permuted(kwargs, orders)))
        assert len(after) == len(results)
        for number, (old, new, layout) in enumerate(zip(_listed(before), after, results, strict=True)):
            if number in reads:
                assert tuple(size_of(dim) for dim in layout.dims) == tuple(old.shape)
                expected = _moved(old, layout, draw.labels, orders)
                torch.testing.assert_close(new, expected, rtol=1e-9, atol=1e-12, equal_nan=True)
        yield any(not torch.equal(order, torch.arange(len(order))) for order in orders.values())


def test_every_rule_has_a_case():
    assert not missing()
    assert CASES.keys() <= RULES.keys()


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", CASES)
def test_permuted_inputs_give_the_permuted_result(name: str):
    moved = list(_outcomes(name))
    assert any(moved) or name in STILL, "in no draw was anything permuted"


def test_a_rule_that_takes_stacks_is_a_rule():
    assert set(RULES.values()) >= TAKES_STACKS
