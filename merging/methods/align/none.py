"""No alignment: units keep their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from merging.methods.problem import Alignment
from merging.methods.registry import method
from merging.settings import NoSettings

if TYPE_CHECKING:
    from merging.methods.problem import Problem


@method(
    "align",
    "none",
    label="None (naive)",
    paper="Baseline of every paper",
    link="https://arxiv.org/abs/2209.04836",
    summary="Averages unit i of A with unit i of B, whatever the two units compute.",
    limits="The average of networks from different initialisations is usually no better than chance.",
)
def no_alignment(problem: Problem, settings: NoSettings) -> Alignment:
    """Return the identity permutation, (units,) int64, for every group of every model."""
    del settings
    return Alignment(tuple(problem.spec.identity() for _ in problem.models))
