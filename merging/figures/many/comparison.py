"""Figures that compare methods: accuracy of the merge as bars, or as lines over the number of merged networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merging.figures.figure import Figure
from merging.figures.palette import STYLES, figure
from merging.text import numbers

# One colour per alignment in all figures: first the Okabe-Ito colours, then muted ones for light and dark pages.
ALIGN_COLORS: dict[str, str] = {
    "none": "#7F7F7F",
    "weight-matching": "#009E73",
    "activation-matching": "#0072B2",
    "straight-through": "#D55E00",
    "frank-wolfe": "#56B4E9",
    "optimal-transport": "#E69F00",
    "cca": "#CC79A7",
    "zipit": "#A5614F",
    "sinkhorn": "#999933",
    "cycle-consistent": "#9467BD",
    "merge-many": "#44AA99",
}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
REFERENCES = {"parents_accuracy": ("A", "mean of the networks"), "ensemble_accuracy": ("ensemble", "ensemble")}
REFERENCES |= {"naive_accuracy": ("naive", "naive average")}


@dataclass(frozen=True)
class Point:
    """Mean test accuracy (0..1) of a method over its merges of `count` networks. low, high: ends of its whisker."""

    label: str
    align: str
    rest: str  # "combine correct"
    count: int
    mean: float
    low: float
    high: float


def bars(points: Sequence[Point], references: Mapping[str, float]) -> Figure:
    """Bars of every method's mean test accuracy with its whisker, best first.

    references: key of REFERENCES -> mean accuracy, each drawn as a vertical line.
    """
    ordered = sorted(points, key=lambda point: -point.mean)
    fig = figure(
        describe_rows(points, references),
        height=110 + 30 * len(ordered),
        x={"title": "Test accuracy of the merge (%)", "range": [0, 101]},
        y={"autorange": "reversed", "type": "category"},
    )
    fig.add(
        "bar",
        x=[100 * point.mean for point in ordered],
        y=[point.label for point in ordered],
        orientation="h",
        marker={"color": [ALIGN_COLORS.get(point.align, "#000000") for point in ordered]},
        error_x=_whiskers(ordered),
        showlegend=False,
        text=[numbers.accuracy(point.mean) for point in ordered],
        textposition="inside",
        insidetextanchor="start",
        hoverinfo="skip",
    )
    for key, value in references.items():
        line, label = STYLES[REFERENCES[key][0]].line(2), REFERENCES[key][1]
        fig.add_upright(100 * value, line)
        name = f"{label} {numbers.accuracy(value)}"
        fig.add("scatter", x=[100 * value], y=[None], mode="lines", line=line, name=name, hoverinfo="skip")
    return fig


def growth(points: Sequence[Point]) -> Figure:
    """Test accuracy over the number of networks merged at once, one line per method, with whiskers."""
    fig = figure(
        describe_rows(points, {}),
        height=420,
        x={"title": "Networks merged at once", "dtick": 1},
        y={"title": "Test accuracy of the merge (%)"},
    )
    for label, align, dash in _lines(points):
        mine = sorted((point for point in points if point.label == label), key=lambda point: point.count)
        fig.add(
            "scatter",
            x=[point.count for point in mine],
            y=[100 * point.mean for point in mine],
            name=label,
            mode="lines+markers",
            line={"color": ALIGN_COLORS.get(align, "#000000"), "dash": dash, "width": 2.5},
            error_y=_whiskers(mine),
            hovertemplate="%{y:.1f} %",
        )
    return fig


def _whiskers(points: Sequence[Point]) -> dict[str, Any]:
    """Error bars in percent; none if no point has a whisker."""
    up = [max(0.0, 100 * point.high - 100 * point.mean) for point in points]  # rounding may give less than nothing
    down = [max(0.0, 100 * point.mean - 100 * point.low) for point in points]
    seen = any(up) or any(down)
    return {"type": "data", "array": up, "arrayminus": down, "color": "#7F7F7F", "symmetric": False, "visible": seen}


def _lines(points: Sequence[Point]) -> list[tuple[str, str, str]]:
    """(label, align, dash) of every line; the dash stands for combination and correction."""
    rests = list(dict.fromkeys(point.rest for point in points))
    lines: dict[str, tuple[str, str, str]] = {}
    for point in points:
        dash = DASHES[rests.index(point.rest) % len(DASHES)]
        lines.setdefault(point.label, (point.label, point.align, dash))
    return list(lines.values())


def describe_rows(points: Sequence[Point], references: Mapping[str, float]) -> str:
    """Describe either figure as text: every method's accuracy, then the references."""
    if not points:
        return "No merge in this comparison has finished yet."
    parts = [
        f"{point.label} ({point.count} networks) {numbers.accuracy(point.mean)}"
        + (f" ({numbers.accuracy(point.low)} to {numbers.accuracy(point.high)})" if point.high > point.low else "")
        for point in sorted(points, key=lambda point: (-point.count, -point.mean))
    ]
    beside = [f"{REFERENCES[key][1]} {numbers.accuracy(value)}" for key, value in references.items()]
    return f"Test accuracy of the merge: {', '.join([*parts, *beside])}."


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of the values (n,) that are not NaN; NaN if all of them are NaN."""
    array = np.asarray(values, float)
    return float(array[~np.isnan(array)].mean()) if (~np.isnan(array)).any() else float("nan")
