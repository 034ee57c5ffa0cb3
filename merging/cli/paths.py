"""Alignment of B to A, for the commands that measure a pair without merging it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from merging.cli.options import Options, chosen_methods
from merging.progress import Progress

if TYPE_CHECKING:
    from torch import nn

    from merging.network.data import Batches


def reordered(a: nn.Module, b: nn.Module, data: Batches, options: Options, report: Progress) -> nn.Module:
    """Return B aligned to A by the method of --align, or B itself if that is "none". data: training images."""
    from merging.pipeline.merge import prepare

    keys, settings = chosen_methods(options)
    if keys["align"] == "none":
        return b
    own = {"align": settings["align"]}
    prepared = prepare((a, b), align=keys["align"], data=data, settings=own, seed=options.seed, report=report)
    return prepared.problem.aligned[1]
