"""Stages of a job and their shares of its duration, from which one progress bar is drawn. torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A stage of a kind of job.

    Attributes:
        name: the stage's name, as the task reports it.
        share: share of the whole job's duration, 0 to 1, in a typical run on a CPU.
        words: description for users.
    """

    name: str
    share: float
    words: str


LOADING, SAVING = "Load the networks", "Save"


def overall(shares: Sequence[tuple[str, float]], stage: str, fraction: float | None) -> float:
    """Completed share of the whole job, 0 to 1.

    Args:
        shares: (name of the stage, share of the whole), in order.
        stage: the current stage. An unknown stage gives 0; the ledger then keeps the progress recorded before.
        fraction: completed share of the current stage, 0 to 1; None at its start.
    """
    done = 0.0
    for name, share in shares:
        if name == stage:
            return done + share * min(max(fraction or 0.0, 0.0), 1.0)
        done += share
    return 0.0
