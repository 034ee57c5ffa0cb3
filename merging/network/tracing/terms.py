"""Terms for tensor dimensions: concatenations of products of atoms, in one normal form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

FIXED = -1


@dataclass(frozen=True)
class Atom:
    """`size` consecutive indices: units with this label, or positions (FIXED)."""

    size: int
    label: int = FIXED


Part = tuple[Atom, ...]
Dim = tuple[Part, ...]


def fixed(size: int) -> Dim:
    """Return a dimension that nothing permutes."""
    return ((Atom(size),),)


def part_size(part: Part) -> int:
    """Return the number of indices of a part."""
    return prod(atom.size for atom in part)


def size_of(dim: Dim) -> int:
    """Return the number of indices of a dimension."""
    return sum(part_size(part) for part in dim)


def join(dims: Sequence[Dim]) -> Dim:
    """Return the concatenation of dimensions; empty ones are skipped."""
    return tuple(part for dim in dims for part in dim if part_size(part))


def normal(dim: Dim) -> Dim:
    """Return the normal form of a dimension.

    Atoms of size one are dropped, adjacent positions are merged, and equal adjacent parts become a product: U U U
    becomes 3 x U.
    """
    parts: list[Part] = []
    for part in dim:
        atoms: list[Atom] = []
        for atom in part:
            if atom.size == 1:
                continue
            if atom.label == FIXED and atoms and atoms[-1].label == FIXED:
                atom = Atom(atoms.pop().size * atom.size)
            atoms.append(atom)
        new = tuple(atoms) or (Atom(1),)
        (count, units), (before, same) = repeats(new), repeats(parts[-1]) if parts else (0, None)
        if units == same:
            parts.pop()
            new = (Atom(before + count), *units)
        parts.append(new)
    return tuple(parts)


def divides(inner: int, part: Part) -> bool:
    """Return whether a part splits into pieces of `inner` indices that hold whole blocks of units or divide a block."""
    units = part_size(repeats(part)[1])
    return part_size(part) % inner == 0 and (units % inner == 0 or inner % units == 0)


def repeats(part: Part) -> tuple[int, Part]:
    """Return the number of repeats of the same units in a normal part, and these units; () if they are positions."""
    return (part[0].size, part[1:]) if part[0].label == FIXED else (1, part)
