"""The curves of one merge: straight from A to B, from A to pi(B) as its method combines them, and that, corrected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from merging.analysis.path.evaluation import evaluate
from merging.analysis.path.interpolation import curves
from merging.methods.problem import Corrector
from merging.network.data import Batches
from merging.pipeline.merge import Prepared
from merging.progress import Progress
from merging.results.reports import LossCurve

Part = Callable[[int, int, str], Progress]  # (number, of, name) -> the Progress of that piece of the work


def merge_curves(
    prepared: Prepared, data: Mapping[str, Batches], *, points: int, correct: str, part: Part
) -> dict[str, dict[str, LossCurve]]:
    """ "naive", "aligned" and, where something is corrected, "corrected" -> split -> LossCurve, of two networks.

    data: split -> images.  Networks of unequal widths have no straight line between them, and so no "naive".
    Raises what `interpolation.curves` does.
    """
    (a, b), (first, second) = prepared.problem.models, prepared.problem.aligned
    straight = prepared.method.key == "average" and not prepared.alignment.maps
    unequal = bool(prepared.problem.structures)
    mended = correct != "none" and "reason" not in prepared.corrector.notes  # which says why there is nothing to mend
    wanted = 1 + (not unequal) + mended

    def combined(net: nn.Module, weights: tuple[float, ...]) -> nn.Module:
        """What the method makes of the matched networks at these weights."""
        return net if straight else prepared.combine(weights)

    def corrected(net: nn.Module, weights: tuple[float, ...]) -> nn.Module:
        """The same, corrected for these weights."""
        return prepared.correct(combined(net, weights), weights)

    found = {}
    if unequal:
        ends = {split: (evaluate(a, images), evaluate(b, images)) for split, images in data.items()}
    else:
        found["naive"] = curves(a, b, data, points=points, report=part(0, wanted, "naive"))
        ends = {split: curve.ends for split, curve in found["naive"].items()}
    how: dict[str, Any] = {"points": points, "ends": ends}
    plain, told = None if straight else Corrector(combined), part(len(found), wanted, "aligned")
    found["aligned"] = curves(first, second, data, corrector=plain, report=told, **how)
    if mended:
        told = part(len(found), wanted, "corrected")
        found["corrected"] = curves(
            first, second, data, correct=correct, corrector=Corrector(corrected), report=told, **how
        )
    return found
