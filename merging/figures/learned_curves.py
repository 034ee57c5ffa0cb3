"""Functions that the units of a layer have learned: in A, in the partner of each in B, and in the merge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from merging.figures import numbers
from merging.figures.palette import AXIS, STYLES, figure
from merging.studies.nonlinearities import SLOTS, Nonlinearities

COLUMNS = 4
ORDERS = {"apart": "farthest apart", "alike": "most alike", "first": "first"}


def units_in_order(found: Nonlinearities, layer: str, order: str, count: int) -> tuple[int, ...]:
    """The first `count` units by how far A's function and its partner's are apart. order: a key of ORDERS."""
    distance = found.distance(layer)
    ranked = {"apart": np.argsort(-distance, kind="stable"), "alike": np.argsort(distance, kind="stable")}
    return tuple(int(unit) for unit in ranked.get(order, np.arange(len(distance)))[:count])


def curves_figure(found: Nonlinearities, layer: str, units: Sequence[int]) -> go.Figure:
    """One small chart per unit, all of one scale."""
    distance, rows = found.distance(layer), -(-len(units) // COLUMNS)
    columns = min(COLUMNS, len(units))
    fig = figure(
        f"Learned functions of {len(units)} of {len(distance)} units of {layer} in A, π(B) and the merge; A's and its "
        f"partner's are apart by {numbers.tiny(float(np.median(distance)))} (root mean square; median of all units).",
        height=60 + 150 * rows,
        x={},
        y={},
    )
    fig.set_subplots(
        rows=rows,
        cols=columns,
        shared_xaxes="all",
        shared_yaxes="all",
        subplot_titles=[f"unit {unit}" for unit in units],
        horizontal_spacing=0.03,
        vertical_spacing=0.3 / (rows + 1),
    )
    for place, unit in enumerate(units):
        for slot, curve in zip(SLOTS, found.curves[layer][:, unit], strict=True):
            style = STYLES[slot]
            fig.add_scatter(
                x=found.x, y=curve, name=style.label, legendgroup=slot, showlegend=place == 0, mode="lines",
                line=style.line(2), hovertemplate="%{x:.2f}: %{y:.3f}", meta=slot,
                row=place // columns + 1, col=place % columns + 1,
            )  # fmt: skip
    fig.update_annotations(font_size=12)
    fig.update_layout(margin_t=56, legend_y=1 + 32 / (150 * rows))
    fig.update_xaxes(automargin=True, **AXIS)
    fig.update_yaxes(automargin=True, **AXIS)
    fig.update_xaxes(title="input of the unit", row=rows)
    fig.update_yaxes(title="output", col=1)
    return fig
