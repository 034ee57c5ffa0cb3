"""`merge` for nets of one's own: built by package.module:factory, which no request may name, so without the task."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from merging.cli.images import need_batches
from merging.cli.nets import Net, device_of
from merging.cli.options import chosen_methods
from merging.methods import letter
from merging.problem import Corrector, Report
from merging.results import LossCurve, MergeReport, Metrics

if TYPE_CHECKING:
    from torch import nn

    from merging.data import Batches
    from merging.merge import Prepared


def merge_own(
    options: argparse.Namespace, nets: list[Net], base: Net | None, report: Report
) -> tuple[MergeReport, dict[str, bytes]]:
    """Merge and measure on the images of --data: a report with curves and permutation, and the artifacts by file name.

    Raises DataUnavailable without --data, and what a merge raises.
    """
    from merging.merge import prepare
    from merging.work.task_tools import arrays
    from merging.zoo.checkpoints import save_checkpoint

    device = device_of(options)
    data = need_batches(options, nets[0], device)
    keys, settings = chosen_methods(options)
    how: dict[str, Any] = {**keys, "settings": settings, "seed": options.seed, "report": report}
    start = base.module(device) if base else None
    prepared = prepare([net.module(device) for net in nets], base=start, data=data["train"], **how)
    two = len(nets) == 2
    found = _curves(prepared, keys, data, options.points, report) if two else {}
    scores = {} if two else _scores(prepared, data)
    made_nets = {"merge.safetensors": prepared.merge().merged, "aligned.safetensors": prepared.problem.aligned[1]}
    made = {name: save_checkpoint(net.cpu(), architecture="", config={}, name=name) for name, net in made_nets.items()}
    permutation = {name: p.cpu().numpy() for name, p in prepared.alignment.permutations[1].items()}
    groups = {name: (len(p), int((p != range(len(p))).sum())) for name, p in permutation.items()}
    told = {"architecture": nets[0].checkpoint.architecture, "settings": settings, "seed": options.seed, **keys}
    done = MergeReport(told, (), groups, prepared.notes["equivalence"], found, scores=scores, permutation=permutation)
    return done, {**made, "permutation.npz": arrays(permutation)}


def _scores(prepared: Prepared, data: dict[str, Batches]) -> dict[str, dict[str, Metrics]]:
    """What every network and the merge are worth, by split: more than two have no line between them."""
    from merging.analysis.evaluation import evaluate

    named = {letter(number): model for number, model in enumerate(prepared.problem.models)}
    named["merge"] = prepared.merge().merged
    return {name: {split: evaluate(net, images) for split, images in data.items()} for name, net in named.items()}


def _curves(
    prepared: Prepared, keys: dict[str, str], data: dict[str, Batches], points: int, report: Report
) -> dict[str, dict[str, LossCurve]]:
    """naive: from A to B.  aligned: from A to pi(B) as the method combines.  corrected: that, corrected."""
    from merging.analysis.interpolation import curves

    a, b = prepared.problem.models

    straight = keys["combine"] == "average" and not prepared.alignment.maps
    first, second = prepared.problem.aligned

    def combined(net: nn.Module, weights: tuple[float, ...]) -> nn.Module:
        return net if straight else prepared.combine(weights)

    def corrected(net: nn.Module, weights: tuple[float, ...]) -> nn.Module:
        return prepared.correct(combined(net, weights), weights)

    how: dict[str, Any] = {"points": points, "report": report}
    plain = None if straight else Corrector(combined)
    found = {"naive": curves(a, b, data, **how)}
    how["ends"] = {split: curve.ends for split, curve in found["naive"].items()}
    found["aligned"] = curves(first, second, data, corrector=plain, **how)
    if keys["correct"] != "none":
        mended = curves(first, second, data, correct=keys["correct"], corrector=Corrector(corrected), **how)
        found["corrected"] = mended
    return found
