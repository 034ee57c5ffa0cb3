"""Terms that describe how tensor dimensions are composed of units, and their unification into groups.

A dimension is a concatenation of parts. A part is a row-major product of atoms. An atom is either positions that
nothing permutes (label FIXED) or labelled units. For example, C*H*W after a flatten is one part of two atoms, and the
concatenation of two streams is two parts.

Later operations (a concatenation, a chunk, a view) may show that a label consists of others. The label is then bound to
a dimension, as a variable is bound to a term. Where each unit of one label holds a concatenation, as each attention
head holds queries and keys, the concatenation has a label of its own inside the product (see `Labels.inside`).

Every step only shrinks the set of allowed permutations. So a layout may exclude valid permutations, but it never
allows a wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from merging.errors import UnsupportedOperation
from merging.network.tracing.terms import FIXED, Atom, Dim, Part, divides, fixed, join, normal, part_size, size_of

__all__ = [
    "FIXED",
    "Atom",
    "Dim",
    "Labels",
    "Layout",
    "LayoutConflict",
    "Part",
    "fixed",
    "join",
    "part_size",
    "size_of",
]

_MOST_PARTS = 4096


class LayoutConflict(UnsupportedOperation):
    """An operation conflicts with the units' layout. The tracer catches this error and adds the operation's name."""


@dataclass(frozen=True)
class Layout:
    """The layout of a tensor: one `Dim` per tensor dimension."""

    dims: tuple[Dim, ...]

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.dims)

    def replace(self, dim: int, new: Dim) -> Layout:
        """Return the same layout with dimension `dim` replaced by `new`."""
        dims = list(self.dims)
        dims[dim] = new
        return Layout(tuple(dims))


class Labels:
    """The labels of one network, and their bindings."""

    def __init__(self) -> None:
        self._bound: dict[int, Dim] = {}
        self._owned: list[bool] = []  # whether a parameter's axis carries the label
        self._sums: dict[Dim, Atom] = {}  # concatenations inside a product

    def fresh(self, size: int, *, owned: bool = False) -> Dim:
        """Return a dimension of new units.

        owned: the units lie on a parameter's axis; otherwise all values along the dimension are the same.
        """
        if size == 1:
            return fixed(1)
        self._owned.append(owned)
        return ((Atom(size, len(self._owned) - 1),),)

    def owned(self, dim: Dim) -> bool:
        """Return whether any units of the dimension lie on a parameter and are free to be permuted."""
        return any(a.label != FIXED and self._owned[a.label] for part in self.resolve(dim) for a in part)

    def uniform(self, dim: Dim) -> bool:
        """Return whether all values along the dimension are known to be the same, so that any permutation is valid."""
        first, *others = self.resolve(dim)
        single = not others and not any(map(self.inside, first))
        return single and all(atom.label != FIXED and not self._owned[atom.label] for atom in first)

    def inside(self, atom: Atom) -> Dim:
        """Return the concatenation that an atom of a resolved dimension stands for; () for units and positions."""
        return self._bound.get(atom.label, ())

    def resolve(self, dim: Dim) -> Dim:
        """Return the dimension with all bound labels replaced by their dimensions, in normal form."""
        return normal(join([self._resolve_part(part) for part in dim]))

    def pin(self, dim: Dim) -> None:
        """Declare that nothing permutes these units."""
        for part in self.resolve(dim):
            for atom in part:
                if self.inside(atom):
                    self.pin(self.inside(atom))
                elif atom.label != FIXED and atom.label not in self._bound:
                    self._bind(atom.label, fixed(atom.size))

    def unify(self, one: Dim, other: Dim) -> None:
        """Declare that two dimensions of equal size have the same permutation. Raises LayoutConflict if they cannot."""
        if size_of(one) != size_of(other):
            raise LayoutConflict(f"{size_of(one)} and {size_of(other)} units cannot have the same permutation")
        while True:
            one, other = self.resolve(one), self.resolve(other)
            if not one or one == other:
                return
            first, second = part_size(one[0]), part_size(other[0])
            if first == second:
                self._unify_parts(one[0], other[0])
                one, other = one[1:], other[1:]
            elif first > second:
                head, tail = self._split_part(one[0], second)
                self.unify(head, other[:1])
                one, other = tail + one[1:], other[1:]
            else:
                head, tail = self._split_part(other[0], first)
                self.unify(one[:1], head)
                one, other = one[1:], tail + other[1:]

    def split(self, dim: Dim, sizes: Sequence[int]) -> list[Dim]:
        """Return a dimension as consecutive pieces of these sizes; a label that crosses a border becomes two labels."""
        pieces, rest = [], self.resolve(dim)
        for size in sizes:
            piece: Dim = ()
            while size:
                have = part_size(rest[0])
                head, tail = (rest[:1], ()) if have <= size else self._split_part(rest[0], size)
                piece, size = piece + head, size - min(have, size)
                rest = self.resolve(tail + rest[1:])
            pieces.append(piece)
        return pieces

    def product(self, outer: Dim, inner: Dim) -> Dim:
        """Return the row-major product of two dimensions, as a flatten produces it."""
        outer, inner = self.resolve(outer), self.resolve(inner)
        if len(inner) == 1:
            return normal(tuple(part + inner[0] for part in outer))
        if any(atom.label != FIXED for part in outer for atom in part):
            return normal(tuple((*part, self._sum(inner)) for part in outer))
        copies = size_of(outer)
        if copies * len(inner) > _MOST_PARTS:
            raise LayoutConflict("units that were concatenated are repeated too often")
        return normal(inner * copies)

    def cut(self, dim: Dim, inner: int) -> tuple[Dim, Dim]:
        """Return a dimension as the product of an outer one and an inner one of `inner` indices, as a view does."""
        dim = self.resolve(dim)
        if all(divides(inner, part) for part in dim):
            outer: list[Part] = []
            below: Dim = ()
            while dim:
                above, inside = self._cut_part(dim[0], inner)
                outer.append(above)
                self.unify(below or (inside,), (inside,))
                below, dim = (inside,), self.resolve(dim[1:])
            return tuple(outer), below
        pieces = self.split(dim, [inner] * (size_of(dim) // inner))
        for piece in pieces[1:]:
            self.unify(pieces[0], piece)
        return fixed(len(pieces)), pieces[0]

    def _sum(self, dim: Dim) -> Atom:
        """Return one atom that stands for a concatenation inside a product."""
        if dim not in self._sums:
            owned = any(self._owned[atom.label] for part in dim for atom in part if atom.label != FIXED)
            atom = self._sums[dim] = self.fresh(size_of(dim), owned=owned)[0][0]
            self._bound[atom.label] = dim
        return self._sums[dim]

    def _resolve_part(self, part: Part) -> Dim:
        result: Dim = ((),)
        for atom in reversed(part):
            below = self._bound.get(atom.label)
            dim: Dim = ((atom,),) if below is None else self.resolve(below)
            result = normal(tuple(p + result[0] for p in dim)) if len(result) == 1 else self.product(dim, result)
        return result

    def _single(self, part: Part) -> Dim:
        dim = self.resolve((part,))
        if len(dim) > 1:
            raise LayoutConflict("units are both concatenated and a factor of a product")
        return dim

    def _bind(self, label: int, dim: Dim) -> None:
        if label in self._bound:
            raise LayoutConflict("the same units are divided in two different ways")
        self._bound[label] = dim
        if self._owned[label]:
            for part in dim:
                for atom in part:
                    if atom.label != FIXED:
                        self._owned[atom.label] = True

    def _unify_parts(self, one: Part, other: Part) -> None:
        """Declare that two parts of equal size have the same permutation."""
        if one == other:
            return
        if len(one) == 1 and one[0].label != FIXED:
            older = len(other) == 1 and other[0].label > one[0].label
            self._bind(other[0].label, (one,)) if older else self._bind(one[0].label, (other,))
        elif len(other) == 1 and other[0].label != FIXED:
            self._bind(other[0].label, (one,))
        else:
            inner = prod(atom.size for atom in (one if one[0].size <= other[0].size else other)[1:])
            above, below = self._cut_part(one, inner)
            (other,) = self._single(other)  # cutting `one` may have cut units of `other` as well
            above_other, below_other = self._cut_part(other, inner)
            self.unify((above,), (above_other,))
            self.unify((below,), (below_other,))

    def _split_part(self, part: Part, at: int) -> tuple[Dim, Dim]:
        """Return a part's first `at` indices and its remaining indices, as two dimensions."""
        atom, rest = part[0], part[1:]
        count, inside = divmod(at, part_size(rest))
        if inside:
            self._release(atom)
            left, right = self._split_part(rest, inside)
            whole, after = (Atom(count), *rest), (Atom(atom.size - count - 1), *rest)
            return ((whole,) if count else ()) + left, right + ((after,) if after[0].size else ())
        if atom.label != FIXED:
            owned = self._owned[atom.label]
            halves = self.fresh(count, owned=owned), self.fresh(atom.size - count, owned=owned)
            self._bind(atom.label, join(halves))
            return ((*halves[0][0], *rest),), ((*halves[1][0], *rest),)
        return ((Atom(count), *rest),), ((Atom(atom.size - count), *rest),)

    def _cut_part(self, part: Part, inner: int) -> tuple[Part, Part]:
        """Return a part as the product of an outer part and an inner one of `inner` indices."""
        above, below, have = list(part), list(part[:0]), 1
        while have < inner and above:
            atom = above.pop()
            need = inner // have
            if atom.size > need:
                if atom.size % need or inner % have:
                    raise LayoutConflict("a view splits units in the middle")
                outer, atom = self._cut_atom(atom, need)
                above.append(outer)
            below.insert(0, atom)
            have *= atom.size
        if have != inner:
            raise LayoutConflict("a view mixes units with positions")
        return tuple(above) or (Atom(1),), tuple(below) or (Atom(1),)

    def _cut_atom(self, atom: Atom, inner: int) -> tuple[Atom, Atom]:
        if atom.label == FIXED:
            return Atom(atom.size // inner), Atom(inner)
        owned = self._owned[atom.label]
        outer_dim, inner_dim = self.fresh(atom.size // inner, owned=owned), self.fresh(inner, owned=owned)
        self._bind(atom.label, ((*outer_dim[0], *inner_dim[0]),))
        return outer_dim[0][0], inner_dim[0][0]

    def _release(self, atom: Atom) -> None:
        """Pin units that would be cut in the middle. This allows fewer permutations, and all of them are valid."""
        if atom.label != FIXED:
            self._bind(atom.label, fixed(atom.size))
