"""BatchNorm reset: running statistics estimated anew for the merged weights."""

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
    """How much data the new statistics are taken from."""

    images: int = setting(5000, label="Training images", low=2, high=1_000_000, help="How many are looked at.")


@method(
    "correct",
    "batch-norm-reset",
    label="BatchNorm reset",
    paper="Izmailov et al.: Averaging Weights Leads to Wider Optima (UAI 2018); Jordan et al.: REPAIR (ICLR 2023)",
    link="https://arxiv.org/abs/2211.08403",
    summary="Passes training images through the merged net once and takes BatchNorm's running statistics from them.",
    limits="Needs training images. Changes nothing in a network without BatchNorm.",
    settings=BatchNormResetSettings,
    needs_data=True,
)
def batch_norm_reset(problem: Problem, settings: BatchNormResetSettings) -> Corrector:
    """A corrector that averages batch statistics over different random batches, in one pass, dropout off.

    Notes: `batch_norms`, how many modules are reset; `images` read; `reason` where there is nothing to reset.
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
