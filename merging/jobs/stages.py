"""What share of a job each of its stages is, so that one bar can show the whole. Shares are of a usual run on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

STAGES: dict[str, tuple[tuple[str, float], ...]] = {
    "merge": (
        ("loading", 0.02),
        ("tracing", 0.06),
        ("matching", 0.10),
        ("verifying", 0.02),
        ("combining", 0.05),
        ("curve", 0.57),
        ("similarity", 0.15),
        ("saving", 0.03),
    ),
    "pictures": (("loading", 0.1), ("rendering", 0.85), ("saving", 0.05)),
    "study": (("loading", 0.05), ("studying", 0.93), ("saving", 0.02)),
    "zip": (("loading", 0.05), ("tracing", 0.1), ("matching", 0.3), ("heads", 0.5), ("saving", 0.05)),
    "train": (("loading", 0.02), ("training", 0.95), ("saving", 0.03)),
    "download": (("downloading", 1.0),),
}


def overall(stages: Sequence[tuple[str, float]], stage: str, fraction: float | None) -> float:
    """The share of the whole job (0..1) that is done `fraction` (0..1, None for its start) into a stage.

    stages: (name, share of the whole). 0 for a stage that is not among them: the ledger never lets a job fall back.
    """
    done = 0.0
    for name, share in stages:
        if name == stage:
            return done + share * min(max(fraction or 0.0, 0.0), 1.0)
        done += share
    return 0.0
