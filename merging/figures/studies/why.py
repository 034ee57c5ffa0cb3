"""Figures that explain a merge: variance, shares of the barrier, singular vectors, matches, calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from merging.figures.figure import Figure
from merging.figures.palette import GRID, STYLES, figure
from merging.figures.similarity import layer_axis
from merging.results.reports import LayerUnits
from merging.studies.aligners import Aligners
from merging.studies.why import Why
from merging.text import numbers

LINES = {"naive": "naive", "average": "aligned", "merge": "corrected"}
FEW = 10  # images: the accuracy of a confidence bin with fewer is noise
EVEN = "rgba(127,127,127,0.7)"


def variance_figure(why: Why, corrected: bool) -> Figure:
    """Mean variance of the units of each layer, relative to the parents'.

    corrected: whether the merge was corrected; only a corrected merge is drawn beside the plain average.
    """
    styles = {net: STYLES[style] for net, style in LINES.items() if corrected or net != "merge"}
    last = ", ".join(f"{style.label} {numbers.ratio(float(why.variance[net][-1]))}" for net, style in styles.items())
    fig = figure(
        f"Variance of the units over depth, relative to the parents' mean. In the last layer: {last}.",
        height=330,
        x=layer_axis(why.layers, "layer, input first", [-0.3, len(why.layers) - 0.7]),
        y={"title": "variance relative to the parents'", "rangemode": "tozero"},
        hovermode="x unified",
    )
    fig.add_level(1, {"color": EVEN, "dash": "dash", "width": 1})
    for net, style in styles.items():
        fig.add(
            "scatter",
            x=np.arange(len(why.layers)),
            y=why.variance[net],
            name=style.label,
            mode="lines+markers",
            line=style.line(),
            marker=style.marker(6),
            hovertemplate="%{y:.2f}",
            meta=net,
        )
    return fig


def shares_figure(why: Why) -> Figure:
    """Share of the barrier, in nats, that each block of layers causes, with bars of two standard errors."""
    worst = why.blocks[int(np.argmax(why.share))] if len(why.blocks) else "none"
    fig = figure(
        f"Shares of the barrier of {numbers.loss(why.total)} nats by layer; {worst} has the largest, "
        f"{numbers.loss(float(np.max(why.share, initial=0)))} nats.",
        height=330,
        x=layer_axis(why.blocks, "layer, input first", [-0.5, len(why.blocks) - 0.5]),
        y={"title": "share of the barrier (nats)", "zeroline": True, "zerolinecolor": GRID},
        showlegend=False,
    )
    fig.add(
        "bar",
        x=np.arange(len(why.blocks)),
        y=why.share,
        marker={"color": STYLES["aligned"].color},
        error_y={"type": "data", "array": 2 * why.error, "color": EVEN},
        hovertemplate="%{y:.3f} nats<extra></extra>",
        meta="share",
    )
    return fig


def spectra_figure(why: Why) -> Figure:
    """Alignment of singular vectors of every weight, before and after re-ordering B."""
    before, after = (float(np.nanmean(row)) for row in why.alignment)
    modules = [name.removesuffix(".weight") for name in why.weights]
    fig = figure(
        f"Alignment of A's and B's singular vectors by layer: {numbers.correlation(before)} on average before "
        f"re-ordering, {numbers.correlation(after)} after.",
        height=330,
        x=layer_axis(modules, "weight, input first", [-0.5, len(modules) - 0.5]),
        y={"title": "alignment of singular vectors", "zeroline": True, "zerolinecolor": GRID},
        barmode="group",
    )
    for row, (name, style) in enumerate((("A and B", STYLES["naive"]), ("A and π(B)", STYLES["aligned"]))):
        fig.add(
            "bar",
            x=np.arange(len(why.weights)),
            y=why.alignment[row],
            name=name,
            marker={"color": style.color},
            customdata=why.distance[row],
            hovertemplate=f"{name}: %{{y:.2f}}, distance %{{customdata:.2f}}<extra></extra>",
            meta=name,
        )
    return fig


def match_quality_figure(units: Sequence[LayerUnits]) -> Figure:
    """Match correlation of the units of each layer: the median, with the interquartile range as error bars.

    Layers whose units were not measured, or are all dead, are left out.
    """
    measurable = [one for one in units if one.images and not np.isnan(one.match).all()]
    low, middle, high = np.array([np.nanquantile(one.match, [0.25, 0.5, 0.75]) for one in measurable]).reshape(-1, 3).T
    names = tuple(one.layer for one in measurable)
    medians = ", ".join(
        f"{name} {numbers.correlation(float(value))}" for name, value in zip(names, middle, strict=True)
    )
    fig = figure(
        f"Match correlation of A's units and their partners, median by layer: {medians}.",
        height=330,
        x=layer_axis(names, "layer, input first", [-0.5, len(names) - 0.5]),
        y={"title": "match correlation of partners", "zeroline": True, "zerolinecolor": GRID},
        showlegend=False,
    )
    style = STYLES["aligned"]
    fig.add(
        "scatter",
        x=np.arange(len(names)),
        y=middle,
        mode="lines+markers",
        line=style.line(),
        marker=style.marker(8),
        error_y={"type": "data", "array": high - middle, "arrayminus": middle - low, "color": EVEN},
        hovertemplate="median %{y:.2f}<extra></extra>",
        meta="match",
    )
    return fig


def calibration_figure(why: Why) -> Figure:
    """Accuracy over confidence, in bins of at least FEW images; the diagonal is perfect calibration."""
    styles = {"A": "A", "B": "B", "naive": "naive", "merge": "merge", "ensemble": "ensemble"}
    errors = ", ".join(f"{STYLES[s].label} {numbers.accuracy(why.scores[n].ece)}" for n, s in styles.items())
    fig = figure(
        f"Accuracy by confidence. Calibration errors: {errors}.",
        height=330,
        x={"title": "confidence of the prediction (%)", "range": [0, 102]},
        y={"title": "accuracy (%)", "range": [0, 102]},
    )
    fig.add("scatter",
        x=[0, 100], y=[0, 100], mode="lines", line={"color": EVEN, "dash": "dash", "width": 1}, showlegend=False,
        hoverinfo="skip",
    )  # fmt: skip
    for net, key in styles.items():
        count, confidence, right = why.calibration[net][:, why.calibration[net][0] >= FEW]
        style = STYLES[key]
        fig.add(
            "scatter",
            x=100 * confidence,
            y=100 * right,
            name=style.label,
            mode="lines+markers",
            line=style.line(2),
            marker=style.marker(6),
            customdata=count,
            hovertemplate="%{y:.0f} % of %{customdata:.0f} images right<extra>" + style.label + "</extra>",
            connectgaps=True,
            meta=net,
        )
    return fig


def aligners_figure(found: Aligners, colors: dict[str, str]) -> Figure:
    """Variance of the plain average's units after each alignment, relative to the parents'. colors: by aligner."""
    parts = [
        f"{label} {numbers.ratio(float(row[-1]))}" for label, row in zip(found.labels, found.variance, strict=True)
    ]
    fig = figure(
        f"Variance of the units over depth after each alignment; in the last layer: {', '.join(parts)}.",
        height=330,
        x=layer_axis(found.layers, "layer, input first", [-0.3, len(found.layers) - 0.7]),
        y={"title": "variance relative to the parents'", "rangemode": "tozero"},
        hovermode="x unified",
    )
    for key, label, row in zip(found.keys, found.labels, found.variance, strict=True):
        fig.add(
            "scatter",
            x=np.arange(len(found.layers)),
            y=row,
            name=label,
            mode="lines+markers",
            line={"color": colors[key], "width": 2.5, "dash": "dot" if key == "none" else "solid"},
            hovertemplate="%{y:.2f}",
            meta=key,
        )
    return fig
