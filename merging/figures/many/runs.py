"""Figures of several runs in one: their curves over each other, and how well their units match, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from merging.figures.curve import AXES, LAMBDA, WORDS, curves_of
from merging.figures.figure import Figure
from merging.figures.palette import FURTHER, STYLES, SYMBOLS, Style, figure
from merging.figures.similarity import layer_axis
from merging.results.reports import LossCurve, MergeReport, Metric
from merging.text import numbers

MOST_RUNS = 6


def run_style(place: int, label: str) -> Style:
    """Return the style of the run at this place, from 0."""
    return Style(FURTHER[place], "solid", SYMBOLS[place], label)


def curves_over_each_other(
    labels: Sequence[str], reports: Sequence[MergeReport], metric: Metric = "loss", split: str = "test"
) -> Figure:
    """Draw the merge's curve of every run as a solid line, and its naive average as a dotted one.

    If all runs have the same naive average, it is drawn once, in grey. Runs without curves (more than two networks, or
    no images) are left out. labels: name of each run in the legend.
    """
    parts = []
    fig = figure(
        "",
        height=420,
        x={"title": LAMBDA, "range": [-0.04, 1.04], "tickvals": [0, 0.25, 0.5, 0.75, 1]},
        y={"title": AXES[metric]},
        hovermode="x unified",
    )
    known = [curves_of(report, split) for report in reports]
    naive = [getattr(curves["naive"], metric) for curves in known if "naive" in curves]
    shared = len(naive) > 1 and all(np.array_equal(one, naive[0]) for one in naive)
    for place, (label, curves) in enumerate(zip(labels, known, strict=True)):
        merged = next((kind for kind in ("corrected", "aligned") if kind in curves), "")
        if merged:
            _add(fig, curves[merged], metric, run_style(place, label), f"{place} merge")
            parts.append(f"{label}: {numbers.metric(metric)(curves[merged].middle(metric))} half-way")
        if "naive" in curves and not shared:
            style = replace(run_style(place, f"{label}, naive average"), dash="dot")
            _add(fig, curves["naive"], metric, style, f"{place} naive")
    if shared:
        _add(fig, next(one["naive"] for one in known if "naive" in one), metric, STYLES["naive"], "naive")
    fig.alt = f"{WORDS[metric].capitalize()} on {split} images along the path from A to B; {'; '.join(parts)}."
    return fig


def _add(fig: Figure, curve: LossCurve, metric: Metric, style: Style, meta: str) -> None:
    fig.add(
        "scatter",
        x=curve.lambdas,
        y=getattr(curve, metric) * (1.0 if metric == "loss" else 100.0),
        name=style.label,
        mode="lines" if style.dash == "dot" else "lines+markers",
        line=style.line(1.8 if style.dash == "dot" else 2.5),
        marker=style.marker(5),
        hovertemplate="%{y:.3f}" if metric == "loss" else "%{y:.1f} %",
        meta=meta,
    )


def matches_by_layer(labels: Sequence[str], reports: Sequence[MergeReport]) -> Figure:
    """Draw the median match correlation of every layer's units, one line per run.

    All runs must have the same layers. Dead units are left out; a layer without any other unit has no point.
    """
    layers = tuple(facts.layer for facts in reports[0].units)
    fig = figure(
        f"Median match correlation of the units of {len(layers)} layers, for {', '.join(labels)}.",
        height=340,
        x=layer_axis(layers, "layer, input first", [-0.3, len(layers) - 0.7]),
        y={"title": "median match correlation"},
        hovermode="x unified",
    )
    for place, (label, report) in enumerate(zip(labels, reports, strict=True)):
        alive = [facts.match[~np.isnan(facts.match)] for facts in report.units]
        style = run_style(place, label)
        fig.add(
            "scatter",
            x=np.arange(len(layers)),
            y=np.array([float(np.median(match)) if len(match) else np.nan for match in alive]),
            name=label,
            mode="lines+markers",
            line=style.line(),
            marker=style.marker(6),
            hovertemplate="%{y:.2f}",
            meta=f"{place}",
        )
    return fig
