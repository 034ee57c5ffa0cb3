"""No correction: the combined net stays unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from merging.methods.problem import Corrector
from merging.methods.registry import method
from merging.settings import NoSettings

if TYPE_CHECKING:
    from merging.methods.problem import Problem


@method(
    "correct",
    "none",
    label="None",
    paper="Baseline of every paper",
    link="https://arxiv.org/abs/2209.04836",
    summary="Leaves the merged net unchanged.",
    limits="With BatchNorm, the averaged running statistics do not fit the averaged weights.",
)
def no_correction(problem: Problem, settings: NoSettings) -> Corrector:
    """Return a corrector that returns the combined net unchanged."""
    del problem, settings
    return Corrector(lambda net, weights: net)
