"""The table of rules, and the classes and helpers that rules work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from merging.errors import UnsupportedOperation
from merging.network.tracing.labels import FIXED, Dim, Labels, Layout, fixed, size_of

Rule = Callable[..., Any]
R = TypeVar("R", bound=Rule)
RULES: dict[str, Rule] = {}
TAKES_STACKS: set[Rule] = set()  # rules that accept a `Stack` instead of a united layout
REMEDY = "Replace the operation in the network, or add a rule for it to merging/network/tracing/rules."
IN_TRAINING = "Call .eval() on the network before it is exported, and do not set its layers' training mode by hand."


@dataclass(frozen=True)
class Stack:
    """Tensors of one shape stacked along a new first dimension, each with its own units.

    For example, the final states of several recurrent layers are one tensor. The slices stay independent until an
    operation reads several of them together.
    """

    parts: tuple[Layout, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Shape of the stacked tensor."""
        return (len(self.parts), *(size_of(dim) for dim in self.parts[0].dims))

    def united(self, labels: Labels) -> Layout:
        """Return the layout of the stacked tensor, after unifying the units of all parts. Raises LayoutConflict."""
        first, *others = self.parts
        for other in others:
            for dim, same in zip(first.dims, other.dims, strict=True):
                labels.unify(dim, same)
        return Layout((fixed(len(self.parts)), *first.dims))


@dataclass(frozen=True)
class Operation:
    """One node of the graph.

    Attributes:
        node: its name in the graph.
        layer: its readable name.
        operator: the operator, as in `aten.add.Tensor`.
        shape: the shape of the result.
        labels: the labels of the network.
        contracted: labels of the operands' dimensions that the operation sums over, before `Labels` unifies them.
        mixed: labels of a dimension over which the operation sums and which it also produces, as the groups of a
            grouped convolution; also before `Labels` unifies them.
        reads: indices of the results that another operation reads.
        of_weights: whether it depends on weights and constants only, not on the images.
    """

    node: str
    layer: str
    operator: str
    shape: Any
    labels: Labels
    contracted: set[int] = field(default_factory=set)
    mixed: set[int] = field(default_factory=set)
    reads: frozenset[int] = frozenset()
    of_weights: bool = False

    @property
    def name(self) -> str:
        """The operator without its namespace and overload: `conv2d` for aten.conv2d.default."""
        return self.operator.split(".")[1]

    def refuse(self, reason: str, remedy: str = REMEDY) -> NoReturn:
        """Raise UnsupportedOperation with the operation, the reason and the remedy."""
        raise UnsupportedOperation(
            f"{self.layer} (node {self.node}, {self.operator}) cannot be traced: {reason}. {remedy}"
        )

    def unify(self, one: Dim, other: Dim) -> None:
        """Declare that both dimensions have the same permutation; a broadcast dimension of size one is skipped."""
        if size_of(one) > 1 and size_of(other) > 1:
            self.labels.unify(one, other)

    def contract(self, *dims: Dim) -> None:
        """Record that the operation sums products over these dimensions of its operands."""
        for dim in dims:
            self.contracted.update(names_in(dim))

    def positions(self, dim: Dim, what: str, remedy: str = REMEDY) -> None:
        """Declare that the operation depends on the order of these indices; refuse if they belong to units.

        An operation on weights alone pins the units instead, as when a position embedding is resized.
        """
        if self.labels.owned(dim) and not self.of_weights:
            self.refuse(f"it {what}, but units that lie there may be permuted", remedy)
        self.labels.pin(dim)

    def fresh(self, size: int) -> Dim:
        """Return a dimension along which all values are the same."""
        return self.labels.fresh(size)

    def fixed_shape(self) -> Layout:
        """Return a layout of the result's shape in which nothing is permuted."""
        return Layout(tuple(fixed(size) for size in self.shape))


def names_in(dim: Dim) -> set[int]:
    """Return the labels that a dimension contains, without resolving them."""
    return {atom.label for part in dim for atom in part if atom.label != FIXED}


def rule(*operators: str, stacks: bool = False) -> Callable[[R], R]:
    """Decorator that registers a rule for ATen operators: all overloads ("add") or one ("max.dim").

    A rule for `add` also applies to the in-place `add_`.
    stacks: the rule accepts a `Stack`; other rules get the united layout instead.
    """

    def declare(function: R) -> R:
        for operator in operators:
            RULES[operator] = function
        if stacks:
            TAKES_STACKS.add(function)
        return function

    return declare


def axis(dim: int, rank: int) -> int:
    """Return a dimension's index counted from the front."""
    return dim % rank if rank else 0


def axes(dims: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Return dimensions counted from the front; None or an empty list means all of them."""
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return tuple(range(rank))
    return tuple(axis(dim, rank) for dim in ([dims] if isinstance(dims, int) else dims))
