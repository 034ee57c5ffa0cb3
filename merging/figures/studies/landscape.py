"""Figure of the loss landscape: the plane of weights through A, B and pi(B) as contours, with the networks marked."""

from __future__ import annotations

import numpy as np

from merging.figures.figure import Figure
from merging.figures.palette import REVERSED, SIMILARITY, STYLES, Style, figure
from merging.studies.landscape import Landscape
from merging.text import numbers

NAMES = {"A": "A", "B": "B", "pi(B)": "π(B)", "C": "other network", "naive": "naive average", "merge": "merge"}
PLACES = {"A": "bottom left", "B": "bottom right", "naive": "bottom center", "merge": "top left"}
THIRD = Style("#CC79A7", "solid", "triangle-up", "other network")
CEILING = 4.0  # colours of the loss end at this multiple of its median, so that high values leave colours for the rest
LEVELS = 18  # contour lines


def landscape_figure(found: Landscape, metric: str) -> Figure:
    """Contours of a metric on the plane, both axes on one scale, with the lines from A to B and to pi(B).

    metric: "loss" or "accuracy".
    """
    values = 100 * found.accuracy if metric == "accuracy" else np.where(np.isinf(found.loss), np.nan, found.loss)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    title = quantity = "Accuracy (%)" if metric == "accuracy" else "Loss (nats)"
    if metric == "loss" and high > CEILING * float(np.nanmedian(values)):
        high = CEILING * float(np.nanmedian(values))
        title = f"{quantity}, colours up to {high:.3g}"
    parts = [
        f"{NAMES[name]} {numbers.accuracy(point[4]) if metric == 'accuracy' else numbers.loss(point[3])}"
        for name, point in found.points.items()
    ]
    fig = figure(
        f"{quantity} on the plane of weights through {_corners(found)}: {', '.join(parts)}.",
        height=560,
        x={"title": "distance in weights from A towards B", "constrain": "domain"},
        y={"title": "distance in weights, orthogonal", "scaleanchor": "x", "scaleratio": 1, "constrain": "domain"},
        showlegend=False,
    )
    fig.add(
        "contour",
        z=values,
        zmin=low,
        zmax=high,
        x=found.x,
        y=found.y,
        customdata=np.where(found.measured, "", " (mean of similar neighbours)"),
        colorscale=SIMILARITY if metric == "accuracy" else REVERSED,
        contours={"coloring": "heatmap", **_levels(low, high)},
        autocontour=False,
        line={"width": 0.6, "color": "rgba(255,255,255,0.55)"},
        colorbar={"title": {"text": title, "side": "top"}, "thickness": 10},
        hovertemplate="(%{x:.1f}, %{y:.1f}): %{z:.3g}%{customdata}<extra></extra>",
    )
    _add_marks(fig, found)
    fig.layout["margin"]["t"] = 34  # room for the chart's buttons above the colour bar's title
    return fig


def _levels(low: float, high: float) -> dict[str, float]:
    """Contour lines at round values, at most LEVELS; the colour bar's ticks stand at the same values."""
    least = max(high - low, 1e-9) / LEVELS
    power = 10.0 ** np.floor(np.log10(least))
    size = float(next(step * power for step in (1, 2, 5, 10) if step * power >= least))
    return {"start": float(np.ceil(low / size) * size), "end": float(np.floor(high / size) * size), "size": size}


def _corners(found: Landscape) -> str:
    return "A, B and the other network" if "C" in found.points else "A, B and π(B)"


def _add_marks(fig: Figure, found: Landscape) -> None:
    """Draw the two lines from A, and a marker for each network."""
    third = "C" if "C" in found.points else "pi(B)"
    for end, style in (("B", STYLES["naive"]), (third, STYLES["aligned" if third == "pi(B)" else "naive"])):
        (x0, y0), (x1, y1) = found.points["A"][:2], found.points[end][:2]
        fig.add("scatter",
            x=[x0, x1], y=[y0, y1], mode="lines", line={"color": "white", "dash": style.dash, "width": 2},
            hoverinfo="skip", meta=f"line {end}",
        )  # fmt: skip
    for name, (x, y, off, loss, accuracy) in found.points.items():
        style = STYLES.get(name, THIRD)
        fig.add(
            "scatter",
            x=[x],
            y=[y],
            mode="markers+text",
            text=[f"<b>{NAMES[name]}</b>"],
            textposition=PLACES.get(name, "top center"),
            textfont={"color": "white", "shadow": "0 0 4px black, 0 0 4px black"},
            marker={**style.marker(13), "line": {"width": 1.5, "color": "white"}},
            hovertemplate=f"{NAMES[name]}: loss {numbers.loss(loss)}, accuracy {numbers.accuracy(accuracy)}"
            + (f", {off:.1f} off the plane" if off > 0.01 * max(np.ptp(found.x), 1e-9) else "")
            + "<extra></extra>",
            meta=name,
        )
