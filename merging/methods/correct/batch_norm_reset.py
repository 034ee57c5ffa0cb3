"""BatchNorm reset: estimate the running statistics again for the merged weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.methods.problem import Corrector
from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from torch import nn

    from merging.methods.problem import Problem


@dataclass(frozen=True)
class BatchNormResetSettings:
    """Settings: number of images for the new statistics."""

    images: int = setting(
        5000, label="Training images", low=2, high=1_000_000, help="Number of training images to measure on."
    )


@method(
    "correct",
    "batch-norm-reset",
    label="BatchNorm reset",
    paper="Izmailov et al.: Averaging Weights Leads to Wider Optima (UAI 2018); Jordan et al.: REPAIR (ICLR 2023)",
    link="https://arxiv.org/abs/2211.08403",
    summary="Replaces BatchNorm's running statistics by those of the merged net, measured on training images.",
    limits="Needs training images. Changes nothing in a network without BatchNorm.",
    settings=BatchNormResetSettings,
    needs_data=True,
)
def batch_norm_reset(problem: Problem, settings: BatchNormResetSettings) -> Corrector:
    """Return a corrector that averages batch statistics over distinct random batches, in one pass, with dropout off.

    Notes of the correction: `batch_norms`, number of modules reset; `images`, number of images read; `reason` if there
    is no module to reset.
    """
    from merging.methods.algorithms.channel_repair import correction_data
    from merging.network.batch_norm import batch_norms, reset_batch_norm

    modules = batch_norms(problem.aligned[0])
    if not modules:
        reason = "This network has no BatchNorm with running statistics, so there is nothing to reset."
        return Corrector(lambda net, weights: net, {"batch_norms": 0, "reason": reason})
    data = correction_data(problem, settings.images)

    def run(net: nn.Module, weights: tuple[float, ...]) -> nn.Module:
        del weights
        return reset_batch_norm(net, data)

    return Corrector(run, {"batch_norms": len(modules), "images": data.count})
