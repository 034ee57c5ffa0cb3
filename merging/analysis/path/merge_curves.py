"""Curves of one merge: straight from A to B, from A to pi(B) by the merge method, and the latter with correction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from merging.analysis.path.evaluation import evaluate
from merging.analysis.path.interpolation import curves
from merging.methods.problem import Corrector
from merging.network.data import Batches
from merging.pipeline.merge import Prepared
from merging.progress import Progress
from merging.results.reports import LossCurve

Part = Callable[[int, int, str], Progress]  # (number, total, name) -> the Progress of that part of the work


def merge_curves(
    prepared: Prepared,
    data: Mapping[str, Batches],
    *,
    points: int,
    correct: str,
    part: Part,
    visit: Callable[[str, nn.Module], None] | None = None,
) -> dict[str, dict[str, LossCurve]]:
    """Measure curves of two networks: "naive", "aligned" and, with a correction, "corrected" -> split -> LossCurve.

    Networks of unequal widths have no straight line between them, so "naive" is absent. data: split -> images.
    visit: called with the name of the curve and the network at every lambda, in order.
    Raises the errors of `interpolation.curves`.
    """
    (a, b), (first, second) = prepared.problem.models, prepared.problem.aligned
    straight = prepared.method.key == "average" and not prepared.alignment.maps
    unequal = bool(prepared.problem.structures)
    has_correction = (
        correct != "none" and "reason" not in prepared.corrector.notes
    )  # a "reason" says why nothing needs correction
    total = 1 + (not unequal) + has_correction

    def combined(net: nn.Module, weights: tuple[float, ...]) -> nn.Module:
        """The method's combination of the matched networks at these weights."""
        return net if straight else prepared.combine(weights)

    def corrected(net: nn.Module, weights: tuple[float, ...]) -> nn.Module:
        """The combination, corrected for these weights."""
        return prepared.correct(combined(net, weights), weights)

    def visitor(name: str) -> Callable[[nn.Module], None] | None:
        """The visit of one curve's networks."""
        return None if visit is None else partial(visit, name)

    by_line = {}
    if unequal:
        ends = {split: (evaluate(a, images), evaluate(b, images)) for split, images in data.items()}
    else:
        by_line["naive"] = curves(a, b, data, points=points, visit=visitor("naive"), report=part(0, total, "naive"))
        ends = {split: curve.ends for split, curve in by_line["naive"].items()}
    how: dict[str, Any] = {"points": points, "ends": ends}
    plain, progress = None if straight else Corrector(combined), part(len(by_line), total, "aligned")
    by_line["aligned"] = curves(first, second, data, corrector=plain, visit=visitor("aligned"), report=progress, **how)
    if has_correction:
        progress = part(len(by_line), total, "corrected")
        how |= {"correct": correct, "corrector": Corrector(corrected), "visit": visitor("corrected")}
        by_line["corrected"] = curves(first, second, data, report=progress, **how)
    return by_line
