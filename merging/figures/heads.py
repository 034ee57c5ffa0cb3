"""Figure of zipped networks: accuracy of their heads by the layer at which the shared trunk ends."""

from __future__ import annotations

import numpy as np

from merging.figures.figure import Figure
from merging.figures.palette import STYLES, figure, network_style
from merging.results.zip_report import ZipReport
from merging.text import numbers


def heads_figure(report: ZipReport) -> Figure:
    """Draw the accuracy of every head over the trunk's last layer, with a dotted line for the unmerged network.

    If no two heads share a class, the accuracy of all heads together is drawn as well.
    """
    fig = figure(
        describe_heads(report),
        height=400,
        x={"title": "The shared trunk ends at layer", "type": "category"},
        y={"title": "Test accuracy (%)"},
    )
    together = STYLES["merge"]
    each = zip(report.names, report.heads, report.alone, strict=True)
    rows = [(f"{name}'s head", network_style(name), row, alone) for name, row, alone in each]
    if np.isfinite(report.beside):
        rows.append(("all heads together", together, report.joint, report.beside))
    for name, style, row, alone in rows:
        look = {"line": style.line(), "marker": style.marker(8), "hovertemplate": "%{y:.1f} %"}
        fig.add("scatter", x=report.layers, y=100 * row, name=name, mode="lines+markers", **look)
        fig.add_level(100 * alone, {"color": style.color, "dash": "dot", "width": 1.5})
    dotted = {"color": "#7F7F7F", "dash": "dot", "width": 1.5}
    fig.add("scatter", x=[None], y=[None], mode="lines", line=dotted, name="the unmerged networks", hoverinfo="skip")
    return fig


def describe_heads(report: ZipReport) -> str:
    """Describe the figure as text: every head's accuracy at each layer, beside its unmerged network."""
    parts = []
    for name, row, alone in zip(report.names, report.heads, report.alone, strict=True):
        course = ", ".join(f"{numbers.accuracy(v)} at {layer}" for layer, v in zip(report.layers, row, strict=True))
        parts.append(f"{name} alone {numbers.accuracy(alone)}, its head {course}")
    return f"Test accuracy by the layer at which the shared trunk ends. {'; '.join(parts)}."
