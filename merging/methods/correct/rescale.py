"""RESCALE: give every pre-activation of the merged net the standard deviation of its parents', with its own mean."""

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
    summary="Rescales each channel before its nonlinearity to the spread of the parents' channels.",
    limits="Needs training images. The logits are left as they are; without a bias, the mean is rescaled too.",
    settings=RepairSettings,
    needs_data=True,
)
def rescale(problem: Problem, settings: RepairSettings) -> Corrector:
    """Return a corrector that sets the std of every pre-activation to (1 - alpha) A + alpha pi(B).

    The correction is folded into the weights.
    """
    from merging.methods.algorithms.channel_repair import restorer

    return restorer(problem, settings.images, shift=False)
