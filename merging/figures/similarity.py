"""Figures of layer-by-layer similarity: maps of one size and colour scale, and their diagonals as lines over depth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from merging.figures.figure import Figure
from merging.figures.palette import SIMILARITY, STYLES, figure
from merging.results.reports import SimilarityMap
from merging.text import numbers

ORDER = ("A-B", "A-pi(B)", "A-merge", "B-merge")
TITLES = {"A-B": "A and B", "A-pi(B)": "A and π(B)", "A-merge": "A and the merge", "B-merge": "B and the merge"}
Doubts = Sequence[Sequence[str]]
SHORT = 12  # number of letters that fit above a colour bar
LABELLED = 12  # largest number of layers for which cells are large enough to show their numbers
TICKS = 16  # largest number of named layers per axis
ABREAST = 60  # letters that fit side by side under half a page
CHOSEN = "#D55E00"  # the frame of a cell that was clicked
BRIGHT = 0.55  # value above which viridis is so bright that black text is easier to read than white
_LINES = {
    "A-B": STYLES["B"],
    "A-pi(B)": STYLES["pi(B)"],
    "A-merge": STYLES["merge"],
    "B-merge": replace(STYLES["merge"], dash="dot", symbol="diamond"),
}


def heatmap(
    map: SimilarityMap,
    title: str,
    *,
    height: int = 400,
    name: str = "CKA",
    doubts: Doubts | None = None,
    chosen: Sequence[str] | None = None,
) -> Figure:
    """Heatmap of one similarity map, layers in network order on both axes, the diagonal outlined.

    Colours always run from 0 to 1; a negative value shows its number, or a minus sign where cells are small.
    An invisible scatter over the cells makes them clickable; its customdata begins with (row layer, column layer).

    Args:
        name: the measure's name.
        doubts: (rows)(columns) reasons to doubt each cell, or ""; cells with a reason show a warning sign.
        chosen: (row layer, column layer) of a cell to frame.
    """
    rows, columns = map.values.shape
    fig = figure(
        _describe(map, title, name, doubts),
        height=height,
        x=layer_axis(map.column_layers, f"layers of {_shown(map.column)}, input first", [-0.5, columns - 0.5]),
        y=layer_axis(map.row_layers, f"layers of {_shown(map.row)}", [rows - 0.5, -0.5], across=False),
        clickmode="event+select",
        dragmode=False,
        showlegend=False,
    )
    fig.add(
        "heatmap",
        z=map.values,
        x=np.arange(columns),
        y=np.arange(rows),
        zmin=0,
        zmax=1,
        colorscale=SIMILARITY,
        colorbar=_color_bar(name),
        hoverinfo="skip",
        xgap=1,
        ygap=1,
    )
    _add_targets(fig, map, name, doubts)
    for cell in range(min(rows, columns)):
        _frame(fig, cell, cell, "rgba(255,255,255,0.85)", 1.5)
    if chosen is not None:
        _frame(fig, map.row_layers.index(chosen[0]), map.column_layers.index(chosen[1]), CHOSEN, 4)
    fig.layout["margin"]["t"] = 34  # room for the chart's buttons, which would cover cells
    return fig


def diagonal_figure(maps: Mapping[str, SimilarityMap]) -> Figure:
    """Draw the similarity of corresponding layers (the diagonal) of each map as a line over the network's depth."""
    layers = next((map.row_layers for map in maps.values()), ())
    means = [f"{TITLES[key]} {numbers.correlation(float(np.nanmean(_diagonal(map))))}" for key, map in maps.items()]
    lowest = min([0.9, *(float(np.nanmin(_diagonal(map))) for map in maps.values())])
    fig = figure(
        "CKA of corresponding layers over depth; means: " + ", ".join(means) + ".",
        height=340,
        x=layer_axis(layers, "layer, input first", [-0.3, len(layers) - 0.7]),
        y={
            "title": "CKA of corresponding layers (1 = alike)",
            "range": [lowest - 0.1 * (1 - lowest), 1 + 0.05 * (1 - lowest)],
        },
        hovermode="x unified",
    )
    for key in (key for key in ORDER if key in maps):
        style = _LINES[key]
        values = _diagonal(maps[key])
        fig.add(
            "scatter",
            x=np.arange(len(values)),
            y=values,
            name=TITLES[key],
            mode="lines+markers",
            line=style.line(5 if key == "A-B" else 2.2),
            opacity=0.45 if key == "A-B" else 1,
            marker=style.marker(6),
            hovertemplate="%{y:.3f}",
            meta=key,
        )
    return fig


def _diagonal(map: SimilarityMap) -> np.ndarray:
    return np.diagonal(map.values)


def _shown(name: str) -> str:
    return {"pi(B)": "π(B)", "merge": "the merge", "C": "the other network"}.get(name, name)


def layer_axis(layers: Sequence[str], title: str, span: list[float], *, across: bool = True) -> dict[str, Any]:
    """Return keywords of an axis of layers, which names at most TICKS of them, among these the last one.

    Args:
        span: range of the axis.
        across: whether the axis runs across the figure. If its names are then too long to stand side by side, they
            tilt to the left; Plotly would tilt them to the right and cut off the last one.
    """
    every = max(1, math.ceil(len(layers) / TICKS))
    places = list(range(len(layers) - 1, -1, -every))[::-1]
    names = [layers[place] if len(layers[place]) <= 22 else f"…{layers[place][-21:]}" for place in places]
    lean = {"tickangle": -30} if across and sum(map(len, names)) > ABREAST else {}
    ticks = {"tickvals": places, "ticktext": names, **lean}
    return {"title": title, **ticks, "range": span, "showgrid": False, "layers": tuple(layers)}


def _color_bar(name: str) -> dict[str, Any]:
    title = {"text": name if len(name) < SHORT else "", "side": "top"}
    return {"title": title, "thickness": 10, "tickvals": [0, 0.25, 0.5, 0.75, 1], "len": 1}


def _frame(fig: Figure, row: int, column: int, color: str, width: float) -> None:
    around = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
    fig.add_shape(type="rect", **around, line={"color": color, "width": width})


def _texts(values: np.ndarray, doubts: Doubts | None) -> list[list[str]]:
    few = max(values.shape) <= LABELLED
    return [
        [_cell(value, few) + _mark(doubts[i][j] if doubts else "", few) for j, value in enumerate(row)]
        for i, row in enumerate(values)
    ]


def _mark(doubt: str, few: bool) -> str:
    return "" if not doubt else "<br>⚠" if few else "⚠"


def _cell(value: float, few: bool) -> str:
    if math.isnan(value):
        return "?"
    return numbers.correlation(value) if few else (numbers.MINUS if value < 0 else "")


def _add_targets(fig: Figure, map: SimilarityMap, name: str, doubts: Doubts | None) -> None:
    rows, columns = map.values.shape
    y, x = (index.ravel() for index in np.mgrid[0:rows, 0:columns])
    customdata = [
        (row, column, numbers.correlation(float(map.values[i, j])), _doubted(doubts[i][j] if doubts else ""))
        for i, row in enumerate(map.row_layers)
        for j, column in enumerate(map.column_layers)
    ]
    parts = (_shown(map.row), "%{customdata[0]}", _shown(map.column), "%{customdata[1]}", name)
    hover = "{}: {}<br>{}: {}<br>{} %{{customdata[2]}}%{{customdata[3]}}".format(*parts)
    invisible = {"marker": {"opacity": 0}}
    fig.add(
        "scatter",
        x=x,
        y=y,
        mode="markers+text",
        text=[text for row in _texts(map.values, doubts) for text in row],
        textfont={"size": 11, "color": ["black" if value > BRIGHT else "white" for value in map.values.ravel()]},
        marker={"symbol": "square", "size": max(8, min(44, int(300 / max(rows, columns)))), "opacity": 0},
        selected=invisible,
        unselected=invisible,
        customdata=customdata,
        hovertemplate=hover + "<extra></extra>",
        showlegend=False,
    )


def _doubted(words: str) -> str:
    return f"<br>⚠ {words}" if words else ""


def _describe(map: SimilarityMap, title: str, name: str, doubts: Doubts | None) -> str:
    diagonal = _diagonal(map)
    low, high = (numbers.correlation(float(f(diagonal))) for f in (np.nanmin, np.nanmax))
    size = f"{map.values.shape[0]} by {map.values.shape[1]} layers"
    flagged = f" {sum(bool(cell) for row in doubts for cell in row)} cells are marked as unreliable." if doubts else ""
    return f"Similarity ({name}) of {title}, {size}; corresponding layers between {low} and {high}.{flagged}"
