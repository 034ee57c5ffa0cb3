"""Verdict on a partial zip: how much of the networks can be shared, and at what cost in accuracy."""

from __future__ import annotations

import numpy as np

from merging.results.zip_report import ZipReport
from merging.text import numbers
from merging.text.reading import FEW_IMAGES, margin, points_beside

CLOSE = 0.02  # largest fall in accuracy below the original network for a head that is called as good


def zip_headline(report: ZipReport) -> str:
    """Return one or two sentences that say up to which layer the networks can share a trunk."""
    last, several = report.deepest(CLOSE), len(report.layers) > 1
    if last is None:
        return (
            f"Sharing {'only the first layers' if several else 'the layers'} (up to {report.layers[0]}) lowers a "
            f"network's accuracy by up to {_cost(report, 0)}."
        )
    end = last == len(report.layers) - 1
    where = f"{report.layers[last]}{', the last layer at which a trunk may end' if end and several else ''}"
    further = "" if end else f" A trunk up to {report.layers[last + 1]} costs up to {_cost(report, last + 1)}."
    return (
        f"The networks can share one trunk up to {where}: no head loses more than {numbers.points(CLOSE)} in accuracy, "
        f"and {numbers.accuracy(report.share[last])} of the networks' parameters remain.{further}"
    )


def zip_verdict(report: ZipReport) -> str:
    """Return a paragraph on every head with the longest trunk, and on all heads together if their classes differ."""
    cost = "; ".join(
        f"{name} {numbers.accuracy(alone)} unmerged and {numbers.accuracy(row[-1])} with the shared trunk"
        for name, alone, row in zip(report.names, report.alone, report.heads, strict=True)
    )
    text = (
        f"Accuracies with the longest trunk, up to {report.layers[-1]}: {cost}. Each is measured on the test images of "
        f"the network's own classes. {numbers.accuracy(report.share[-1])} of all parameters remain."
    )
    if np.isfinite(report.beside):
        text += (
            f" For all classes at once, without being told which head is the right one, the unmerged networks together "
            f"reach {numbers.accuracy(report.beside)} and the zipped network "
            f"{numbers.accuracy(float(report.joint[-1]))}. This task is harder, and the outputs of heads that were "
            "trained separately need not be on one scale."
        )
    few = [n for n in report.counts if n < FEW_IMAGES]
    if few:
        by = max(margin(float(p), int(n)) for p, n in zip(report.alone, report.counts, strict=True))
        text += (
            f" Heads were measured on as few as {min(few)} image{'s' * (min(few) != 1)}: accuracies are uncertain by "
            f"about {numbers.points(by)}."
        )
    return text


def _cost(report: ZipReport, place: int) -> str:
    """Format the largest fall in a head's accuracy with the trunk up to this layer, so that it differs from CLOSE."""
    worst = float((report.alone - report.heads[:, place]).max())
    return points_beside(worst, CLOSE)
