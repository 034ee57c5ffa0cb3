"""Figures that compare methods: accuracy of the merge as bars, or as lines over the number of merged networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

# label, align, "combine · correct", number of networks, mean accuracy, spread
Point = tuple[str, str, str, int, float, float]


def bars(points: Sequence[Point], references: Mapping[str, float]) -> Figure:
    """Bars of every method's mean test accuracy with its spread, best first.

    references: key of REFERENCES -> mean accuracy, each drawn as a vertical line.
    """
    ordered = sorted(points, key=lambda point: -point[4])
    fig = figure(
        describe_rows(points, references),
        height=110 + 30 * len(ordered),
        x={"title": "Test accuracy of the merge (%)", "range": [0, 101]},
        y={"autorange": "reversed", "type": "category"},
    )
    spreads = [100 * spread for *_, spread in ordered]
    fig.add(
        "bar",
        x=[100 * mean for *_, mean, _ in ordered],
        y=[label for label, *_ in ordered],
        orientation="h",
        marker={"color": [ALIGN_COLORS.get(align, "#000000") for _, align, *_ in ordered]},
        error_x={"type": "data", "array": spreads, "color": "#7F7F7F", "visible": any(spreads)},
        showlegend=False,
        text=[numbers.accuracy(mean) for *_, mean, _ in ordered],
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
    """Test accuracy over the number of networks merged at once, one line per method, error bars for the spread."""
    fig = figure(
        describe_rows(points, {}),
        height=420,
        x={"title": "Networks merged at once", "dtick": 1},
        y={"title": "Test accuracy of the merge (%)"},
    )
    for label, align, dash in _lines(points):
        mine = sorted((point for point in points if point[0] == label), key=lambda point: point[3])
        fig.add(
            "scatter",
            x=[count for *_, count, _, _ in mine],
            y=[100 * mean for *_, mean, _ in mine],
            name=label,
            mode="lines+markers",
            line={"color": ALIGN_COLORS.get(align, "#000000"), "dash": dash, "width": 2.5},
            error_y={"type": "data", "array": [100 * spread for *_, spread in mine]},
            hovertemplate="%{y:.1f} %",
        )
    return fig


def _lines(points: Sequence[Point]) -> list[tuple[str, str, str]]:
    """(label, align, dash) of every line; the dash stands for combination and correction."""
    rests = list(dict.fromkeys(rest for _, _, rest, *_ in points))
    lines: dict[str, tuple[str, str, str]] = {}
    for label, align, rest, *_ in points:
        lines.setdefault(label, (label, align, DASHES[rests.index(rest) % len(DASHES)]))
    return list(lines.values())


def describe_rows(points: Sequence[Point], references: Mapping[str, float]) -> str:
    """Describe either figure as text: every method's accuracy, then the references."""
    if not points:
        return "No merge in this comparison has finished yet."
    ordered: list[Any] = sorted(points, key=lambda point: (-point[3], -point[4]))
    parts = [
        f"{label} ({count} networks) {numbers.accuracy(mean)}" + (f" ± {numbers.points(spread)}" if spread else "")
        for label, _, _, count, mean, spread in ordered
    ]
    beside = [f"{REFERENCES[key][1]} {numbers.accuracy(value)}" for key, value in references.items()]
    return f"Test accuracy of the merge: {', '.join([*parts, *beside])}."


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of the values (n,) that are not NaN; NaN if all of them are NaN."""
    array = np.asarray(values, float)
    return float(array[~np.isnan(array)].mean()) if (~np.isnan(array)).any() else float("nan")
