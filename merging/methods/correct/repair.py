"""REPAIR: set the mean and standard deviation of every pre-activation of the merged net to those of its parents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from merging.methods.problem import Corrector, Problem


@dataclass(frozen=True)
class RepairSettings:
    """Settings: number of images for the statistics."""

    images: int = setting(
        5000, label="Training images", low=2, high=1_000_000, help="Number of training images to measure on."
    )


@method(
    "correct",
    "repair",
    label="REPAIR",
    paper="Jordan, Sedghi, Saukh, Entezari, Neyshabur: REPAIR (ICLR 2023)",
    link="https://arxiv.org/abs/2211.08403",
    summary="Sets each channel's mean and standard deviation before the nonlinearity to those of its parents.",
    limits="Needs training images. The output layer itself is not corrected; a layer with neither bias nor norm "
    "is rescaled but not shifted. Can reduce the accuracy if units were matched badly.",
    settings=RepairSettings,
    needs_data=True,
)
def repair(problem: Problem, settings: RepairSettings) -> Corrector:
    """Return a corrector that sets each pre-activation's mean and std to (1 - lambda) A's + lambda pi(B)'s (eq. 4-5).

    The correction is folded into the weights, so the architecture stays the same. BatchNorm's running statistics are
    reset in the same pass.
    """
    from merging.methods.algorithms.channel_repair import restorer

    return restorer(problem, settings.images, shift=True)
