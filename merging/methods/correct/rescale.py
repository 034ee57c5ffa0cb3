"""RESCALE: set every pre-activation's standard deviation in the merged net to that of its parents; keep its mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from merging.methods.correct.repair import RepairSettings
from merging.methods.registry import method

if TYPE_CHECKING:
    from merging.methods.problem import Corrector, Problem


@method(
    "correct",
    "rescale",
    label="RESCALE",
    paper="Jordan, Sedghi, Saukh, Entezari, Neyshabur: REPAIR (ICLR 2023)",
    link="https://arxiv.org/abs/2211.08403",
    summary="Sets each channel's standard deviation before the nonlinearity to that of its parents.",
    limits="Needs training images. The output layer itself is not corrected; without a bias, the mean is rescaled too.",
    settings=RepairSettings,
    needs_data=True,
)
def rescale(problem: Problem, settings: RepairSettings) -> Corrector:
    """Return a corrector that sets each pre-activation's std to (1 - alpha) A's + alpha pi(B)'s.

    The correction is folded into the weights.
    """
    from merging.methods.algorithms.channel_repair import restorer

    return restorer(problem, settings.images, shift=False)
