"""Figures of the nonlinearities that a layer's units learned: in A, in each unit's partner in B, and in the merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from merging.figures.figure import Figure
from merging.figures.palette import STYLES, figure, look_of_axis
from merging.studies.nonlinearities import SLOTS, Nonlinearities
from merging.text import numbers

COLUMNS = 4
GAP = 0.03  # between two columns, as a share of the width
ORDERS = {"apart": "farthest apart", "alike": "most alike", "first": "first"}


def units_in_order(found: Nonlinearities, layer: str, order: str, count: int) -> tuple[int, ...]:
    """Return the first `count` units by the distance of A's function to its partner's. order: a key of ORDERS."""
    distance = found.distance(layer)
    orders = {"apart": np.argsort(-distance, kind="stable"), "alike": np.argsort(distance, kind="stable")}
    return tuple(int(unit) for unit in orders.get(order, np.arange(len(distance)))[:count])


def curves_figure(found: Nonlinearities, layer: str, units: Sequence[int]) -> Figure:
    """One small chart per unit, all on the same scale."""
    distance, rows = found.distance(layer), -(-len(units) // COLUMNS)
    columns = min(COLUMNS, len(units))
    fig = figure(
        f"Learned functions of {len(units)} of {len(distance)} units of {layer} in A, π(B) and the merge; distance "
        f"of A's to its partner's: {numbers.tiny(float(np.median(distance)))} (root mean square; median of all units).",
        height=60 + 150 * rows,
        x={},
        y={},
    )
    for place, unit in enumerate(units):
        number = _add_chart(fig, place, rows, columns, f"unit {unit}")
        for slot, curve in zip(SLOTS, found.curves[layer][:, unit], strict=True):
            style = STYLES[slot]
            fig.add("scatter",
                x=found.x, y=curve, name=style.label, legendgroup=slot, showlegend=place == 0, mode="lines",
                line=style.line(2), hovertemplate="%{x:.2f}: %{y:.3f}", meta=slot,
                xaxis=f"x{number}", yaxis=f"y{number}",
            )  # fmt: skip
    fig.layout["margin"]["t"] = 56
    fig.layout["legend"]["y"] = 1 + 32 / (150 * rows)
    return fig


def _add_chart(fig: Figure, place: int, rows: int, columns: int, title: str) -> str:
    """Add the axes of the small chart at `place`, counted row by row; all charts zoom together.

    Returns the number in the names of its axes, "" for the first chart.
    """
    row, column = divmod(place, columns)
    wide, high = (1 - GAP * (columns - 1)) / columns, (1 - 0.3 * (rows - 1) / (rows + 1)) / rows
    left, top = column * (wide + GAP), 1 - row * (high + 0.3 / (rows + 1))
    number, shared = ("", {}) if place == 0 else (str(place + 1), {"x": "x", "y": "y"})
    outer = {"x": "input of the unit" if row == rows - 1 else "", "y": "output" if column == 0 else ""}
    spans = {"x": [left, min(1.0, left + wide)], "y": [max(0.0, top - high), top]}
    for letter, anchor in (("x", "y"), ("y", "x")):
        position: dict[str, Any] = {"domain": spans[letter], "anchor": f"{anchor}{number}"}
        if shared:
            position["matches"] = shared[letter]
        fig.layout[f"{letter}axis{number}"] = look_of_axis(
            outer[letter], showticklabels=bool(outer[letter]), **position
        )
    middle = {"x": left + wide / 2, "y": top, "xref": "paper", "yref": "paper"}
    fig.add_note(text=title, **middle, xanchor="center", yanchor="bottom", font={"size": 12})
    return number
