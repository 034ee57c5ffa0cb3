"""Figures of the layers along the path: CKA with a parent, or variance, over lambda; and the loss."""

from __future__ import annotations

import numpy as np

from merging.figures.curve import LAMBDA
from merging.figures.figure import Figure
from merging.figures.palette import SIMILARITY, STYLES, figure
from merging.figures.similarity import layer_axis
from merging.studies.along import Along
from merging.text import numbers

TARGET = 18  # pixels: the width of a clickable point
SHOWN = {"to_a": "CKA with A", "to_b": "CKA with B", "variance": "variance relative to the parents'"}


def inside_figure(found: Along, line: str, what: str) -> Figure:
    """Heatmap of one quantity, every layer over lambda. line: a key of `Along.loss`.  what: a key of SHOWN."""
    values: np.ndarray = getattr(found, what)[line]
    middle = len(found.lambdas) // 2
    lowest = int(np.nanargmin(values[middle])) if not np.isnan(values[middle]).all() else 0
    fig = figure(
        f"{SHOWN[what]} of every layer along the {STYLES[line].label} line; half-way it is lowest in "
        f"{found.layers[lowest]}, {numbers.ratio(float(values[middle, lowest]))}.",
        height=360,
        x={"title": LAMBDA, "tickvals": [0, 0.25, 0.5, 0.75, 1]},
        y=layer_axis(found.layers, "layer, input on top", [len(found.layers) - 0.5, -0.5], across=False),
        showlegend=False,
    )
    fig.add(
        "heatmap",
        z=values.T,
        x=found.lambdas,
        y=np.arange(len(found.layers)),
        zmin=0,
        zmax=1 if what != "variance" else max(1.0, float(np.nanmax(values))),
        colorscale=SIMILARITY,
        colorbar={"title": {"text": SHOWN[what].split(" ")[0], "side": "top"}, "thickness": 10},
        hoverinfo="skip",
    )
    _add_targets(fig, found, values)
    return fig


def _add_targets(fig: Figure, found: Along, values: np.ndarray) -> None:
    """Add an invisible point per cell, because a heatmap's cells cannot be clicked."""
    layers, points = len(found.layers), len(found.lambdas)
    invisible = {"marker": {"opacity": 0}}
    fig.add(
        "scatter",
        x=np.tile(found.lambdas, layers),
        y=np.repeat(np.arange(layers), points),
        mode="markers",
        marker={"symbol": "square", "size": TARGET, "opacity": 0},
        selected=invisible,
        unselected=invisible,
        customdata=[(layer, values[at, row]) for row, layer in enumerate(found.layers) for at in range(points)],
        hovertemplate="%{customdata[0]}, λ = %{x:.2f}: %{customdata[1]:.2f}<extra></extra>",
    )


def loss_figure(found: Along) -> Figure:
    """Loss of both lines over lambda, on the same images as the heatmaps."""
    tops = ", ".join(f"{STYLES[line].label} {numbers.loss(float(loss.max()))}" for line, loss in found.loss.items())
    fig = figure(
        f"Loss along the path; the highest values: {tops}.",
        height=240,
        x={"title": LAMBDA, "range": [-0.05, 1.05], "tickvals": [0, 0.25, 0.5, 0.75, 1]},
        y={"title": "Loss (nats per image)"},
        hovermode="x unified",
    )
    for line, loss in found.loss.items():
        style = STYLES[line]
        fig.add("scatter",
            x=found.lambdas, y=loss, name=style.label, mode="lines+markers", line=style.line(), marker=style.marker(5),
            hovertemplate="%{y:.3f}", meta=line,
        )  # fmt: skip
    return fig
