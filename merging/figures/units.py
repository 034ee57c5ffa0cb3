"""All units of a run at a glance: how well each layer's units found their partners."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from merging.figures import numbers
from merging.figures.palette import STYLES, figure
from merging.results import LayerUnits


def match_histogram(layer: LayerUnits) -> go.Figure:
    """How many units of a layer have which match correlation."""
    alive = layer.match[~np.isnan(layer.match)]
    fig = figure(
        f"Match correlations of {len(alive)} living units of {layer.layer}, median "
        f"{numbers.correlation(float(np.median(alive)) if len(alive) else float('nan'))}.",
        height=220,
        x={"title": "match correlation of A's unit and its partner", "range": [min(-0.2, _least(alive)), 1.02]},
        y={"title": "units"},
        bargap=0.05,
        showlegend=False,
    )
    fig.add_histogram(
        x=alive,
        xbins={"start": -1, "end": 1.0001, "size": 0.05},
        marker={"color": STYLES["aligned"].color},
        hovertemplate="%{x}: %{y} units<extra></extra>",
    )
    return fig


def _least(values: np.ndarray) -> float:
    return float(values.min()) - 0.05 if len(values) else 0.0
