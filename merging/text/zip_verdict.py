"""Verdict on a partial zip: how much of the networks can be shared, and at what cost in accuracy."""

from __future__ import annotations

import numpy as np

from merging.results.zip_report import ZipReport
from merging.text import numbers
from merging.text.reading import FEW_IMAGES, margin, points_beside

CLOSE = 0.02  # accuracy below the original network's up to which a head is called as good


def zip_headline(report: ZipReport) -> str:
    """One or two sentences on up to which layer the networks can share a trunk."""
    last, several = report.deepest(CLOSE), len(report.layers) > 1
    if last is None:
        return (
            f"Sharing {'even ' if several else ''}the layers up to {report.layers[0]} costs a head {_cost(report, 0)}."
        )
    end = last == len(report.layers) - 1
    where = f"{report.layers[last]}{', the last layer at which it may end' if end and several else ''}"
    further = "" if end else f" Up to {report.layers[last + 1]}, it costs a head {_cost(report, last + 1)}."
    return (
        f"One trunk can serve up to {where}: no head loses more than {numbers.points(CLOSE)}, and "
        f"{numbers.accuracy(report.share[last])} of the networks' parameters are left.{further}"
    )


def zip_verdict(report: ZipReport) -> str:
    """A paragraph on every head with the longest trunk, and on all heads together if their classes differ."""
    cost = "; ".join(
        f"{name} {numbers.accuracy(alone)} alone and {numbers.accuracy(row[-1])} with its head"
        for name, alone, row in zip(report.names, report.alone, report.heads, strict=True)
    )
    text = (
        f"Zipped as deep as it goes, up to {report.layers[-1]}: {cost}. Each is right on test images of its own "
        f"classes. {numbers.accuracy(report.share[-1])} of all parameters are left."
    )
    if np.isfinite(report.beside):
        text += (
            f" Asked for all classes at once, without being told whose image it is, the networks side by side give "
            f"{numbers.accuracy(report.beside)} and the zipped one {numbers.accuracy(float(report.joint[-1]))}: that "
            "is a harder question, and heads that were trained apart need not weigh their answers alike."
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
    """Largest loss in accuracy of a head with the trunk up to this layer, with enough digits to differ from CLOSE."""
    worst = float((report.alone - report.heads[:, place]).max())
    return points_beside(worst, CLOSE)
