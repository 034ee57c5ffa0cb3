"""Guesses of the game "Which is it?": which of four pictures shows the partner of a unit. torch-free.

A person guesses once about each unit of a run. The ledger keeps the guesses, so that a score is right after a reload.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from merging.errors import InvalidRequest
from merging.jobs.ledger.connection import connect, transaction
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.owners import check_owner

OPTIONS = 4  # pictures to choose from, so that chance alone is right in one case of four
MOST = 2_000  # guesses that are kept per person; the oldest go first


@dataclass(frozen=True)
class Round:
    """One question: which of B's units is the partner of A's `unit`? options: numbers of units of B, one is right."""

    unit: int
    options: tuple[int, ...]


@dataclass(frozen=True)
class GameScore:
    """Number of right guesses and of all guesses."""

    right: int
    guesses: int


def rounds(units: Sequence[int], partner: np.ndarray, run: str) -> list[Round]:
    """Return one round per unit of A, in an order that depends on the run only.

    Args:
        units: the units of A to ask about.
        partner: (U,) the unit of B that is matched to each unit of A.
        run: id of the run, hexadecimal; it seeds all random choices.

    Raises:
        InvalidRequest: if these units have too few different partners.
    """
    partners = np.unique(partner[list(units)])
    if len(partners) < OPTIONS:
        raise InvalidRequest(
            f"The game needs {OPTIONS} pairs of units that are alive in both networks; this layer has {len(partners)}."
        )
    rng = np.random.default_rng(int(run[:16], 16))
    made = []
    for unit in rng.permutation(np.asarray(units)):
        others = rng.choice(partners[partners != partner[unit]], OPTIONS - 1, replace=False)
        made.append(Round(int(unit), tuple(int(one) for one in rng.permutation([partner[unit], *others]))))
    return made


def guess(ledger: Ledger, person: str, run: str, layer: str, unit: int, guessed: int, right: int) -> None:
    """Store a guess. A later guess of the same person about the same unit changes nothing.

    Args:
        ledger: the ledger.
        person: who guesses.
        run: id of the run.
        layer: name of the layer.
        unit: the unit of A.
        guessed: the unit of B that the person chose.
        right: the unit of B that is the partner.
    """
    check_owner(person)
    with connect(ledger.file) as db, transaction(db):
        db.execute(
            "INSERT OR IGNORE INTO guesses (owner, run, layer, unit, guessed, correct, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (person, run, layer, unit, guessed, guessed == right, time.time()),
        )
        db.execute(
            "DELETE FROM guesses WHERE owner = ? AND rowid NOT IN"
            " (SELECT rowid FROM guesses WHERE owner = ? ORDER BY rowid DESC LIMIT ?)",
            (person, person, MOST),
        )


def guessed_units(ledger: Ledger, person: str, run: str, layer: str) -> dict[int, int]:
    """Return the person's guesses about a layer: unit of A -> unit of B."""
    with connect(ledger.file) as db:
        rows = db.execute(
            "SELECT unit, guessed FROM guesses WHERE owner = ? AND run = ? AND layer = ?", (person, run, layer)
        ).fetchall()
    return {int(row["unit"]): int(row["guessed"]) for row in rows}


def score(ledger: Ledger, person: str, run: str = "", layer: str = "") -> GameScore:
    """Return the person's score, of one run and layer or, with "", of all."""
    query = "SELECT COALESCE(SUM(correct), 0), COUNT(*) FROM guesses WHERE owner = ?"
    conditions = {" AND run = ?": run, " AND layer = ?": layer}
    values = [value for value in conditions.values() if value]
    query += "".join(condition for condition, value in conditions.items() if value)
    with connect(ledger.file) as db:
        right, guesses = db.execute(query, (person, *values)).fetchone()
    return GameScore(int(right), int(guesses))
