"""Figures of the path from A to B: while it is measured, with one point marked, and the layers at this point."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from merging.figures.curve import KINDS, LAMBDA, Above, curve_figure, curve_label
from merging.figures.figure import Figure
from merging.figures.palette import GRID, STYLES, figure
from merging.figures.similarity import layer_axis
from merging.progress import CurvePoint
from merging.results.reports import MergeReport, Metric
from merging.text import numbers

MARK = {"color": "rgba(127,127,127,0.9)", "width": 1.5, "dash": "dot"}


def marked_curve(report: MergeReport, metric: Metric, split: str, above: Above, at: float) -> Figure:
    """Return the curves with a vertical line at lambda `at`."""
    fig = curve_figure(report, metric, split, above)
    fig.add_upright(at, MARK)
    return fig


def variance_at(report: MergeReport, place: int) -> Figure:
    """Draw the variance of every layer at point `place` of every path, relative to the parents'.

    The range of the axis is that of all points, so that the chart can be compared from point to point. Raises
    ValueError for a report without points.
    """
    points = report.points
    if points is None:
        raise ValueError("This report holds no points of the path.")
    defined = {path: values[place][np.isfinite(values[place])] for path, values in points.variance.items()}
    least = {path: numbers.ratio(float(values.min())) for path, values in defined.items() if len(values)}
    words = ", ".join(f"{curve_label(report, path)}: at least {low}" for path, low in least.items())
    top = max(1.0, *(float(np.max(v, initial=0.0, where=np.isfinite(v))) for v in points.variance.values()))
    fig = figure(
        f"Variance of the units by layer, relative to the parents. {words}.",
        height=300,
        x=layer_axis(points.layers, "layer, input first", [-0.3, len(points.layers) - 0.7]),
        y={"title": "variance / parents'", "range": [0, 1.05 * top], "zeroline": True, "zerolinecolor": GRID},
    )
    for path, values in points.variance.items():
        style = STYLES[path]
        fig.add(
            "scatter",
            x=np.arange(len(points.layers)),
            y=values[place],
            name=curve_label(report, path),
            mode="lines+markers",
            line=style.line(),
            marker=style.marker(6),
            customdata=points.layers,
            hovertemplate="%{customdata}: %{y:.2f}",
            meta=path,
        )
    return fig


def growing_figure(points: Iterable[CurvePoint]) -> Figure:
    """Draw the loss at the points that are measured so far, one line per curve, in the order of lambda."""
    curves: dict[str, list[CurvePoint]] = {}
    for point in points:
        if point.curve in KINDS:
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
