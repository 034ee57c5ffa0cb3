"""What to try next where a merge leaves a barrier: methods to choose, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from merging.methods.registry import Role
from merging.results.reports import MergeReport
from merging.text import numbers
from merging.text.reading import CONNECTED, Reading, fall_of

SHRUNK = 0.75  # share of the parents' standard deviation below which averaged units are called shrunk


@dataclass(frozen=True)
class NextStep:
    """A method to choose in place of the one that was used. why: a sentence or two that give the reason."""

    role: Role
    key: str
    why: str


def next_steps(reading: Reading) -> tuple[NextStep, ...]:
    """Return what to try, the most promising first; nothing if the merge is connected, or is corrected already."""
    if reading.corrected or reading.fall <= CONNECTED:
        return ()
    return tuple(step for step in _steps(reading) if reading.report.request.get(step.role) != step.key)


def _steps(reading: Reading) -> Iterator[NextStep]:
    normed = any(layer.kind == "norm" for layer in reading.report.layers)
    if reading.report.notes.get("trace", {}).get("batch_norms", normed):
        why = (
            "This network has BatchNorm, whose averaged running statistics do not fit the averaged weights. Try the "
            "correction BatchNorm reset or REPAIR."
        )
        yield NextStep("correct", "batch-norm-reset", why)
        yield NextStep("correct", "repair", why)
    elif (scale := _scale(reading.report)) < SHRUNK:
        why = (
            f"In the last layers the standard deviation of the merge's units is {numbers.ratio(scale)} times the "
            "parents': averaging has shrunk their activations. Try the correction REPAIR."
        )
        yield NextStep("correct", "repair", why)
    if reading.moved and not reading.unequal and fall_of(reading.final) > fall_of(reading.naive) - CONNECTED:
        why = "Re-ordering alone did not help here. Try another alignment, or try a correction first."
        yield NextStep("align", "activation-matching", why)
        yield NextStep("align", "weight-matching", why)
    if not reading.moved:
        why = "B's neurons stayed where they were. Try an alignment that moves them."
        yield NextStep("align", "weight-matching", why)
        yield NextStep("align", "activation-matching", why)


def _scale(report: MergeReport) -> float:
    """Median ratio of a unit's standard deviation in the merge to its mean in the parents; NaN if not measured.

    The median is over all units in the last third of the layers.
    """
    layers = report.units[-max(1, len(report.units) // 3) :]
    shares: list[float] = []
    for layer in layers:
        std = dict(zip(layer.models, layer.std, strict=True))
        alive = std["A"] + std["pi(B)"] > 0
        shares.extend((2 * std["merge"] / (std["A"] + std["pi(B)"]).clip(1e-30))[alive] if "merge" in std else ())
    return float(np.median(shares)) if shares else float("nan")
