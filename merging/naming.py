"""Names of the models of a merge: letters by position."""

from __future__ import annotations


def letter(number: int) -> str:
    """Return the letter that names a model by its position in a merge: A, B, C ..."""
    return "ABCDEFGHIJ"[number]
