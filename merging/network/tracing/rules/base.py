"""The table of rules, and what a rule is given to work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from merging.errors import UnsupportedOperation
from merging.network.tracing.labels import FIXED, Dim, Labels, Layout, fixed, size_of

Rule = Callable[..., Any]
R = TypeVar("R", bound=Rule)
RULES: dict[str, Rule] = {}
TAKES_STACKS: set[Rule] = set()  # rules that are given a `Stack` as it is, and not united
REMEDY = "Replace the operation in the network, or add a rule for it to merging/network/tracing/rules."
IN_TRAINING = "Call .eval() on the network before it is exported, and do not set its layers' training mode by hand."


@dataclass(frozen=True)
class Stack:
    """Tensors of one shape side by side along a new first dimension, each with units of its own.

    The final states of several recurrent layers are one tensor. Its slices are independent until an operation reads
    several of them together.
    """

    parts: tuple[Layout, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return (len(self.parts), *(size_of(dim) for dim in self.parts[0].dims))

    def united(self, labels: Labels) -> Layout:
        """The layout of the tensor as a whole: all parts are permuted alike. Raises LayoutConflict."""
        first, *others = self.parts
        for other in others:
            for dim, same in zip(first.dims, other.dims, strict=True):
                labels.unify(dim, same)
        return Layout((fixed(len(self.parts)), *first.dims))


@dataclass(frozen=True)
class Operation:
    """One node of the graph. layer: its name for a person; operator: as in `aten.add.Tensor`; shape: of the result.

    contracted, mixed: labels, as the operands name them, that it sums over, and of those the ones it makes as well.
    reads: which of several results another operation reads.  of_weights: no image reaches it.
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
        """Raise UnsupportedOperation that names the operation and the remedy."""
        raise UnsupportedOperation(
            f"{self.layer} (node {self.node}, {self.operator}) cannot be followed: {reason}. {remedy}"
        )

    def unify(self, one: Dim, other: Dim) -> None:
        """Both dimensions are permuted alike; a dimension of size one is broadcast and carries nothing."""
        if size_of(one) > 1 and size_of(other) > 1:
            self.labels.unify(one, other)

    def contract(self, *dims: Dim) -> None:
        """The operation sums products over these dimensions of its operands."""
        for dim in dims:
            self.contracted.update(names_in(dim))

    def positions(self, dim: Dim, what: str, remedy: str = REMEDY) -> None:
        """The operation needs these indices in their order; units there refuse it.

        Axes of weights that it reads before any image comes keep their order: an embedding of places that is resized.
        """
        if self.labels.owned(dim) and not self.of_weights:
            self.refuse(f"it {what}, where units may be re-ordered", remedy)
        self.labels.pin(dim)

    def fresh(self, size: int) -> Dim:
        """A dimension along which all values are the same."""
        return self.labels.fresh(size)

    def fixed_shape(self) -> Layout:
        """The result's shape, nothing permuted."""
        return Layout(tuple(fixed(size) for size in self.shape))


def names_in(dim: Dim) -> set[int]:
    """The labels that a dimension names, before anything is put in for them."""
    return {atom.label for part in dim for atom in part if atom.label != FIXED}


def rule(*operators: str, stacks: bool = False) -> Callable[[R], R]:
    """Declare a rule for ATen operators, all overloads ("add") or one ("max.dim"); `add_` follows `add`.

    stacks: the rule knows what to do with a `Stack` and is not given a united layout in its place.
    """

    def declare(function: R) -> R:
        for operator in operators:
            RULES[operator] = function
        if stacks:
            TAKES_STACKS.add(function)
        return function

    return declare


def axis(dim: int, rank: int) -> int:
    """A dimension counted from the front."""
    return dim % rank if rank else 0


def axes(dims: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Dimensions counted from the front; none given means all of them."""
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return tuple(range(rank))
    return tuple(axis(dim, rank) for dim in ([dims] if isinstance(dims, int) else dims))
