"""`merge` for nets of one's own: built by package.module:factory, which no request may name, so without the task."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from merging.cli.images import need_batches
from merging.cli.nets import Net, device_of
from merging.cli.options import chosen_methods
from merging.problem import Corrector, Report
from merging.results import LossCurve, MergeReport

if TYPE_CHECKING:
    from torch import nn

    from merging.data import Batches
    from merging.merge import Prepared


def merge_own(options: argparse.Namespace, a: Net, b: Net, report: Report) -> tuple[MergeReport, dict[str, bytes]]:
    """Merge and measure on the images of --data: a report with curves and permutation, and the artifacts by file name.

    Raises DataUnavailable without --data, and what a merge raises.
    """
    from merging.merge import prepare
    from merging.work.task_tools import arrays
    from merging.zoo.checkpoints import save_checkpoint

    device = device_of(options)
    data = need_batches(options, a, device)
    keys, settings = chosen_methods(options)
    how: dict[str, Any] = {**keys, "settings": settings, "seed": options.seed, "report": report}
    prepared = prepare([a.module(device), b.module(device)], data=data["train"], **how)
    found = _curves(prepared, keys, data, options.points, report)
    nets = {"merge.safetensors": prepared.merge().merged, "aligned.safetensors": prepared.problem.aligned[1]}
    made = {name: save_checkpoint(net.cpu(), architecture="", config={}, name=name) for name, net in nets.items()}
    permutation = {name: p.cpu().numpy() for name, p in prepared.alignment.permutations[1].items()}
    groups = {name: (len(p), int((p != range(len(p))).sum())) for name, p in permutation.items()}
    told = {"architecture": a.checkpoint.architecture, "settings": settings, "seed": options.seed, **keys}
    done = MergeReport(told, (), groups, prepared.notes["equivalence"], found, permutation=permutation)
    return done, {**made, "permutation.npz": arrays(permutation)}


def _curves(
    prepared: Prepared, keys: dict[str, str], data: dict[str, Batches], points: int, report: Report
) -> dict[str, dict[str, LossCurve]]:
    """naive: from A to B.  aligned: from A to pi(B) as the method combines.  corrected: that, corrected."""
    from merging.analysis.interpolation import curves

    a, b = prepared.problem.models

    def combined(net: nn.Module, weights: tuple[float, ...]) -> nn.Module:
        return net if keys["combine"] == "average" else prepared.combine(weights)

    def corrected(net: nn.Module, weights: tuple[float, ...]) -> nn.Module:
        return prepared.correct(combined(net, weights), weights)

    how: dict[str, Any] = {"points": points, "report": report}
    plain = None if keys["combine"] == "average" else Corrector(combined)
    aligned = prepared.problem.aligned[1]
    found = {"naive": curves(a, b, data, **how), "aligned": curves(a, aligned, data, corrector=plain, **how)}
    if keys["correct"] != "none":
        mended = curves(a, aligned, data, correct=keys["correct"], corrector=Corrector(corrected), **how)
        found["corrected"] = mended
    return found
