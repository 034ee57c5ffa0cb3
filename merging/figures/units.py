"""Figures about the units of a run: match correlations, contact sheets, responses to pictures, class tuning, films."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from merging.figures.curve import LAMBDA
from merging.figures.figure import Figure
from merging.figures.palette import DIFFERENCE, STYLES, figure
from merging.results.reports import LayerUnits
from merging.studies.film import Film
from merging.text import numbers

# For both axes: shrink the plot, because Plotly never narrows a range that it has widened.
BINS = 40  # of a histogram of correlations, from -1 to 1
NUMBER = {"xanchor": "left", "yanchor": "bottom", "bgcolor": "#FFFFFF", "opacity": 0.8, "borderpad": 0}
NUMBER |= {"font": {"size": 9, "color": "#000000"}}  # readable on any picture, light or dark
FIT = {"constrain": "domain"}


def match_histogram(layer: LayerUnits) -> Figure:
    """Histogram of the match correlations of a layer's units, dead units left out."""
    alive = layer.match[~np.isnan(layer.match)]
    fig = figure(
        f"Match correlations of {len(alive)} units of {layer.layer} that are not dead, median "
        f"{numbers.correlation(float(np.median(alive)) if len(alive) else float('nan'))}.",
        height=220,
        x={"title": "match correlation of A's unit and its partner", "range": [min(-0.2, _least(alive)), 1.02]},
        y={"title": "units"},
        bargap=0.05,
        showlegend=False,
    )
    counts, edges = np.histogram(alive.clip(-1, 1), bins=np.arange(-BINS, BINS + 1, 2) / BINS)
    fig.add(
        "bar",
        x=(edges[1:] + edges[:-1]) / 2,
        y=counts,
        width=2 / BINS,
        marker={"color": STYLES["aligned"].color},
        hovertemplate="%{x:.3f}: %{y} units<extra></extra>",
    )
    return fig


def _least(values: np.ndarray) -> float:
    return float(values.min()) - 0.05 if len(values) else 0.0


def sheet_figure(image: str, units: Sequence[int], words: Sequence[str], columns: int, alt: str) -> Figure:
    """Contact sheet of units' pictures with clickable tiles, each with its unit's number in a corner.

    Args:
        image: the sheet as a data URL, tiles row by row.
        units: the unit of each tile, which becomes the customdata of its point.
        words: the hover text of each tile.
        columns: tiles per row.
        alt: the figure as text for people who cannot see it.
    """
    rows = -(-len(units) // columns)
    fig = figure(
        alt,
        height=max(120, 66 * rows + 16),
        x={"range": [0, columns], "visible": False, **FIT, "constraintoward": "left"},
        y={"range": [rows, 0], "visible": False, "scaleanchor": "x", **FIT, "constraintoward": "top"},
        clickmode="event+select",
        dragmode=False,
        showlegend=False,
    )
    fig.layout["margin"] = {"l": 0, "r": 0, "t": 0, "b": 0}
    placement = {"xref": "x", "yref": "y", "x": 0, "y": 0, "sizex": columns, "sizey": rows, "sizing": "stretch"}
    fig.layout["images"] = [{"source": image, "layer": "below", **placement}]
    transparent = {"marker": {"opacity": 0}}
    fig.add(
        "scatter",
        x=[at % columns + 0.5 for at in range(len(units))],
        y=[at // columns + 0.5 for at in range(len(units))],
        mode="markers",
        marker={"symbol": "square", "size": 38, "opacity": 0},
        selected=transparent,
        unselected=transparent,
        customdata=list(units),
        text=list(words),
        hovertemplate="%{text}<extra></extra>",
    )
    for at, unit in enumerate(units):
        fig.add_note(x=at % columns + 0.02, y=at // columns + 0.98, text=str(unit), **NUMBER)
    return fig


def cross_figure(values: np.ndarray, names: Sequence[str], unit: int) -> Figure:
    """Heatmap of (M, M) responses: each network's unit (row) to the picture made for each network (column)."""
    own = ", ".join(f"{name} {numbers.ratio(float(values[at, at]))}" for at, name in enumerate(names))
    fig = figure(
        f"Response of each network's unit {unit} to each picture; to the picture made for it: {own}.",
        height=300,
        x={"title": "picture made for", "tickvals": list(range(len(names))), "ticktext": list(names), "side": "bottom"},
        y={
            "title": "response of",
            "tickvals": list(range(len(names))),
            "ticktext": list(names),
            "range": [len(names) - 0.5, -0.5],
        },
    )
    most = max(1.0, float(np.nanmax(np.abs(values), initial=1.0)))
    fig.add(
        "heatmap",
        z=values,
        zmin=-most,
        zmax=most,
        zmid=0,
        colorscale=DIFFERENCE,
        text=[[numbers.ratio(float(value)) for value in row] for row in values],
        texttemplate="%{text}",
        colorbar={"thickness": 10},
        hovertemplate="response of %{y} to the picture made for %{x}: %{z:.2f}<extra></extra>",
        xgap=1,
        ygap=1,
    )
    return fig


def tuning_figure(tuning: np.ndarray, names: Sequence[str], classes: Sequence[str], unit: int) -> Figure:
    """Bars of the (M, classes) mean responses of a unit in every network to the images of each class."""
    best = ", ".join(f"{name} {classes[int(np.nanargmax(row))]}" for name, row in zip(names, tuning, strict=True))
    fig = figure(
        f"Mean response of unit {unit} to every class; the classes with the strongest response: {best}.",
        height=300,
        x={"tickvals": list(range(len(classes))), "ticktext": list(classes)},
        y={"title": "mean response"},
        barmode="group",
    )
    styles = {"A": "A", "π(B)": "B", "merge": "merge", "naive": "naive"}
    for name, row in zip(names, tuning, strict=True):
        if name in styles:
            fig.add("bar",
                x=np.arange(len(classes)), y=row, name=name, marker={"color": STYLES[styles[name]].color}, meta=name,
                hovertemplate=f"{name}: %{{y:.3g}}<extra></extra>",
            )  # fmt: skip
    return fig


def change_figure(film: Film, place: int, start: str) -> Figure:
    """Pixel correlation of each picture of a film with the previous one, beside the control for numerical noise.

    place: index of the unit in the film.  start: a key of `film.step`, "cold" or "warm".
    """
    least = min(float(np.nanmin(film.step[line][start][:, place])) for line in film.step)
    fig = figure(
        f"Pixel correlation of each picture with the previous one along the path, at least "
        f"{numbers.correlation(least)}, and of pictures of networks whose weights differ only by 1e-7.",
        height=260,
        x={"title": LAMBDA, "range": [-0.04, 1.04], "tickvals": [0, 0.25, 0.5, 0.75, 1]},
        y={"title": "pixel correlation", "range": [min(-0.05, least - 0.05), 1.05]},
        hovermode="x unified",
    )
    for line in film.step:
        style = STYLES[line]
        fig.add("scatter",
            x=film.lambdas, y=film.step[line][start][:, place], name=f"{style.label}: with the previous one",
            mode="lines+markers", line=style.line(), marker=style.marker(6), hovertemplate="%{y:.2f}", meta=line,
        )  # fmt: skip
        fig.add("scatter",
            x=film.lambdas, y=film.control[line][:, place], name=f"{style.label}: numerical noise", mode="markers",
            marker={"color": style.color, "symbol": "line-ew-open", "size": 10}, hovertemplate="%{y:.2f}",
            meta=f"control {line}",
        )  # fmt: skip
    return fig
