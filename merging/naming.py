"""Names of the models of a merge (letters by position) and of blocks of layers."""

from __future__ import annotations

from collections.abc import Sequence

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZΓΔΘΛΞΣ"  # Greek capitals that look like no Latin letter
TO = " … "  # stands between the first and the last layer of a block


def letter(number: int) -> str:
    """Return the letter that names a model by its position in a merge: A, B, C ...; after Z come Greek capitals."""
    return LETTERS[number]


def block_name(layers: Sequence[str]) -> str:
    """Return the name of a block of neighbouring layers: its only layer, or its first and last one."""
    return layers[0] if len(layers) == 1 else f"{layers[0]}{TO}{layers[-1]}"


def first_of_block(block: str) -> str:
    """Return the first layer of a block that `block_name` named."""
    return block.split(TO)[0]
