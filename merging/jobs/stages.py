"""The stages of a job: what each does, and its share of the whole, so that one bar can show the whole. torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A stage of a kind of job.

    Attributes:
        name: as the task reports it.
        share: of the whole job, 0 to 1, in a usual run on a CPU.
        words: what it does, for people.
    """

    name: str
    share: float
    words: str


LOADING, SAVING = "Load the networks", "Save"


def overall(shares: Sequence[tuple[str, float]], stage: str, fraction: float | None) -> float:
    """The share of the whole job (0 to 1) that is done at `fraction` (0 to 1, None for its start) of a stage.

    shares: (name of the stage, share of the whole). An unknown stage gives 0: the ledger never lets a job fall back.
    """
    done = 0.0
    for name, share in shares:
        if name == stage:
            return done + share * min(max(fraction or 0.0, 0.0), 1.0)
        done += share
    return 0.0
