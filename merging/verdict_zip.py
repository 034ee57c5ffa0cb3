"""A partial zip in plain words: how much of the networks can be shared, and what that costs."""

from __future__ import annotations

import numpy as np

from merging.figures import numbers
from merging.zip_report import ZipReport

CLOSE = 0.02  # of accuracy below a network's own: its head is as good as it is


def headline(report: ZipReport) -> str:
    """One sentence: how far the networks can share a trunk."""
    last = report.deepest(CLOSE)
    if last is None:
        worst = numbers.points(float((report.alone - report.heads[:, 0]).max()))
        return f"Sharing even the layers up to {report.layers[0]} costs a head {worst}."
    what = "all hidden layers" if last == len(report.layers) - 1 else f"the layers up to {report.layers[last]}"
    return (
        f"One trunk can serve for {what}: no head loses more than {numbers.points(CLOSE)}, and "
        f"{numbers.accuracy(report.share[last])} of the networks' parameters are left."
    )


def verdict(report: ZipReport) -> str:
    """A paragraph: every head at the deepest cut, and all heads together where their classes differ."""
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
            f"{numbers.accuracy(report.beside)} and the zipped one {numbers.accuracy(float(report.joint[-1]))}: heads "
            "that were trained apart do not weigh their answers alike."
        )
    return text
