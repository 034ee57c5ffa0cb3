"""Figures of the evidence study: means and intervals by layer, spread over units, fates, relation to the match."""

from __future__ import annotations

import numpy as np

from merging.figures.figure import Figure
from merging.figures.palette import STYLES, figure
from merging.figures.similarity import layer_axis
from merging.studies.evidence import MEASURES, Evidence
from merging.text import numbers

FEW, MOST = 200, 4000  # units in a scatter plot: drawn large up to FEW, thinned out beyond MOST
SPREAD = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles of a box: whiskers, quartiles, median
TELLING = 3  # percent: smaller parts of a bar have no room for their numbers
# From units that resemble both parents to units that resemble neither, in the colours of the similarity maps.
FATE_COLORS = {
    "kept": "#fde725",
    "blended": "#5ec962",
    "one-sided": "#21918c",
    "replaced": "#3b528b",
    "died": "#440154",
}
LABELS = {
    "merge": ("merge to its parents", "merge"),
    "naive": ("naive average to its parents", "naive"),
    "parents": ("parents to each other", "B"),
    "noise": ("same unit, other seed", "ensemble"),
}


def evidence_figure(found: Evidence, measure: str) -> Figure:
    """Mean of one measure over the units of each layer, with a 95 % interval, one series per measured pair."""
    rows = [row for row in LABELS if not np.isnan(found.interval(measure, row)[0])]
    words = ", ".join(f"{LABELS[row][0]} {numbers.ratio(found.interval(measure, row)[0])}" for row in rows)
    fig = figure(
        f"{MEASURES[measure].capitalize()}, mean over units: {words}.",
        height=330,
        x=layer_axis(found.layers, "layer, input first", [-0.5, len(found.layers) - 0.5]),
        y={"title": MEASURES[measure].split(" (")[0]},
    )
    for number, row in enumerate(rows):
        means = np.array([found.interval(measure, row, at) for at in range(len(found.layers))])
        style, label = STYLES[LABELS[row][1]], LABELS[row][0]
        fig.add(
            "scatter",
            x=np.arange(len(found.layers)) + 0.12 * (number - (len(rows) - 1) / 2),
            y=means[:, 0],
            name=label,
            mode="markers",
            marker={"color": style.color, "size": 10, "symbol": style.symbol.replace("line-ew", "diamond-tall")},
            error_y={
                "type": "data",
                "array": means[:, 2] - means[:, 0],
                "arrayminus": means[:, 0] - means[:, 1],
                "color": style.color,
                "thickness": 1.5,
            },
            hovertemplate=f"{label}: %{{y:.2f}}<extra></extra>",
            meta=row,
        )
    return fig


def spread_figure(found: Evidence, measure: str) -> Figure:
    """Box plot of one measure over all units of all layers, with one box per measured pair of LABELS."""
    finite = {row: values[~np.isnan(values)] for row, values in found.values[measure].items()}
    boxes = {row: np.quantile(finite[row], SPREAD) for row in LABELS if len(finite[row])}
    words = ", ".join(f"{LABELS[row][0]} {numbers.ratio(float(box[2]))}" for row, box in boxes.items())
    fig = figure(
        f"{MEASURES[measure].capitalize()}, median unit: {words}.",
        height=210,
        x={"title": MEASURES[measure].split(" (")[0]},
        y={"autorange": "reversed"},
        showlegend=False,
    )
    for row, (low, first, middle, third, high) in boxes.items():
        label, style = LABELS[row][0], STYLES[LABELS[row][1]]
        quantiles = {"lowerfence": [low], "q1": [first], "median": [middle], "q3": [third], "upperfence": [high]}
        fig.add("box",
            **quantiles, y=[label], name=label, orientation="h", width=0.6, meta=row,
            marker={"color": style.color}, line={"width": 1.5}, hoverinfo="x",
        )  # fmt: skip
    return fig


def fates_figure(found: Evidence) -> Figure:
    """Percentage of units with each fate, in the merge and in the naive average."""
    shares = {STYLES[row].label: found.shares(row) for row in ("merge", "naive")}
    descriptions = [
        f"{name}: " + ", ".join(f"{round(100 * share)} % {word}" for word, share in own.items() if share)
        for name, own in shares.items()
    ]
    fig = figure(
        f"What became of {len(found.unit)} units. {'; '.join(descriptions)}.",
        height=190,
        x={"title": "units (%)", "range": [0, 100]},
        y={"autorange": "reversed"},
        barmode="stack",
    )
    fig.layout["legend"]["traceorder"] = "normal"
    for word, color in FATE_COLORS.items():
        width = [100 * own[word] for own in shares.values()]
        fig.add("bar",
            x=width, y=list(shares), name=word, orientation="h", marker={"color": color}, meta=word,
            text=[f"{round(one)}" if one >= TELLING else "" for one in width], textposition="inside", textangle=0,
            insidetextanchor="middle", hovertemplate=f"{word}: %{{x:.1f}} % of the units<extra></extra>",
        )  # fmt: skip
    return fig


def match_figure(found: Evidence, measure: str) -> Figure:
    """One measure of every unit over its match correlation, in the merge and in the naive average.

    With more than MOST units, only every second (third ...) one is drawn.
    """
    slopes, every = [], -(-len(found.unit) // MOST)
    size = 7 if len(found.unit) <= FEW else 4
    names = [f"{found.layers[at]}, unit {unit}" for at, unit in zip(found.layer, found.unit, strict=True)]
    fig = figure(
        "",
        height=330,
        x={"title": "match correlation of A's unit and its partner"},
        y={"title": MEASURES[measure].split(" (")[0]},
    )
    for row in ("naive", "merge"):
        values = found.values[measure][row]
        alive = ~(np.isnan(values) | np.isnan(found.match))
        style, label = STYLES[LABELS[row][1]], LABELS[row][0]
        if alive.sum() > 2:
            slopes.append(f"{label} {numbers.correlation(float(np.corrcoef(found.match[alive], values[alive])[0, 1]))}")
        fig.add(
            "scatter",
            x=found.match[alive][::every],
            y=values[alive][::every],
            name=label,
            mode="markers",
            marker={**style.marker(size), "opacity": 0.75},
            customdata=[name for name, lives in zip(names, alive, strict=True) if lives][::every],
            hovertemplate="%{customdata}: match %{x:.2f}, %{y:.2f}<extra></extra>",
            meta=row,
        )
    fig.alt = f"Each unit over its match correlation; correlation over units: {', '.join(slopes)}."
    return fig
