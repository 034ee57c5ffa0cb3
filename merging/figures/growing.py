"""Figure of the curves of a merge while they are measured."""

from __future__ import annotations

from collections.abc import Iterable

from merging.figures.curve import LAMBDA
from merging.figures.figure import Figure
from merging.figures.palette import STYLES, figure
from merging.progress import CurvePoint
from merging.text import numbers


def growing_figure(points: Iterable[CurvePoint]) -> Figure:
    """Draw the loss at the points that are measured so far, one line per curve, in the order of lambda."""
    curves: dict[str, list[CurvePoint]] = {}
    for point in points:
        curves.setdefault(point.curve, []).append(point)
    so_far = "; ".join(
        f"{STYLES[kind].label}: {len(mine)} points, the last at λ {mine[-1].at:.2f} with a loss of "
        f"{numbers.loss(mine[-1].loss)}"
        for kind, mine in curves.items()
    )
    fig = figure(
        f"Loss on test images, as far as it is measured. {so_far}.",
        height=300,
        x={"title": LAMBDA, "range": [-0.04, 1.04], "tickvals": [0, 0.25, 0.5, 0.75, 1]},
        y={"title": "Loss (nats per image)"},
    )
    for kind, mine in curves.items():
        ordered, style = sorted(mine, key=lambda point: point.at), STYLES[kind]
        fig.add(
            "scatter",
            x=[point.at for point in ordered],
            y=[point.loss for point in ordered],
            customdata=[100 * point.accuracy for point in ordered],
            name=style.label,
            mode="lines+markers",
            line=style.line(),
            marker=style.marker(5),
            hovertemplate="loss %{y:.3f}, accuracy %{customdata:.1f} %",
            meta=kind,
        )
    return fig
