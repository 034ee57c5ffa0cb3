"""Figure of one metric of every network in a merge: bars, with a line for the ensemble."""

from __future__ import annotations

from merging.figures.curve import AXES, WORDS
from merging.figures.figure import Figure
from merging.figures.palette import STYLES, figure, network_style
from merging.results.reports import MergeReport, Metric
from merging.text import numbers


def scores_figure(report: MergeReport, metric: Metric = "accuracy", split: str = "test") -> Figure:
    """One bar per network, from A to the merge, with its value written on it."""
    scale = 1.0 if metric == "loss" else 100.0
    by_network = {name: getattr(splits[split], metric) for name, splits in report.scores.items()}
    fig = figure(
        describe_scores(report, metric, split),
        height=60 + 38 * len(by_network),
        x={"title": AXES[metric], "rangemode": "tozero"},
        y={"autorange": "reversed", "type": "category"},
        showlegend=False,
    )
    fig.add(
        "bar",
        x=[scale * value for value in by_network.values()],
        y=list(by_network),
        orientation="h",
        marker={"color": [network_style(name).color for name in by_network]},
        text=[numbers.metric(metric)(value) for value in by_network.values()],
        textposition="inside",
        insidetextanchor="start",  # the ensemble's line crosses the other end
        hoverinfo="skip",
    )
    if split in report.ensemble:
        style = STYLES["ensemble"]
        at = scale * getattr(report.ensemble[split], metric)
        fig.add_upright(at, style.line(2), "ensemble")
    return fig


def describe_scores(report: MergeReport, metric: Metric, split: str) -> str:
    """Describe the figure as text: the metric of every network and of the ensemble."""
    write = numbers.metric(metric)
    parts = [f"{name} {write(getattr(splits[split], metric))}" for name, splits in report.scores.items()]
    if split in report.ensemble:
        parts.append(f"ensemble {write(getattr(report.ensemble[split], metric))}")
    return f"{WORDS[metric].capitalize()} on {split} images: {', '.join(parts)}."
