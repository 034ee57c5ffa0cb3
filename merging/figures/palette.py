"""Colours (Okabe-Ito), dashes and marker shapes, the same in every figure, for light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from plotly.colors import get_colorscale

from merging.figures.figure import Figure
from merging.methods.registry import MOST_MODELS
from merging.naming import letter


@dataclass(frozen=True)
class Style:
    """Colour, dash and marker of a network or curve; the marker repeats the colour's meaning. label: legend text."""

    color: str
    dash: str
    symbol: str
    label: str

    def line(self, width: float = 2.5) -> dict[str, Any]:
        """Keywords of a Plotly line."""
        return {"color": self.color, "dash": self.dash, "width": width}

    def marker(self, size: float = 6) -> dict[str, Any]:
        """Keywords of a Plotly marker."""
        return {"color": self.color, "symbol": self.symbol, "size": size}


STYLES: dict[str, Style] = {
    "A": Style("#0072B2", "solid", "circle", "A"),
    "B": Style("#E69F00", "solid", "diamond", "B"),
    "pi(B)": Style("#E69F00", "dash", "diamond-open", "π(B): B re-ordered"),
    "naive": Style("#7F7F7F", "dot", "x", "naive average"),
    "aligned": Style("#009E73", "solid", "circle", "aligned average"),
    "corrected": Style("#D55E00", "solid", "square", "merge (corrected)"),
    "ensemble": Style("#CC79A7", "dash", "line-ew", "ensemble of A and B"),
    "merge": Style("#009E73", "solid", "circle", "merge"),
}
# Networks beyond A and B: the rest of Okabe-Ito, then muted colours that show on a light page and on a dark one.
FURTHER = ("#56B4E9", "#A5614F", "#44AA99", "#999933", "#9467BD", "#D55E00", "#B05FA8", "#6B8E23")
SYMBOLS = ("square", "triangle-up", "cross", "star", "pentagon", "hexagon", "triangle-down", "hourglass")
SIMILARITY = get_colorscale("Viridis")  # dark is low
REVERSED = get_colorscale("Viridis_r")  # dark is high
DIFFERENCE = get_colorscale("RdBu")
GRID = "rgba(127,127,127,0.22)"
AXIS = {"gridcolor": GRID, "zeroline": False, "linecolor": "rgba(127,127,127,0.6)"}
STANDOFF = 8  # pixels between an axis and its title


def network_style(name: str) -> Style:
    """Return the style of a network by its name: A, B, C ..., or a key of STYLES such as "merge"."""
    if name in STYLES:
        return STYLES[name]
    place = list(map(letter, range(2, MOST_MODELS))).index(name)
    rounds, color = divmod(place, len(FURTHER))  # the same colour again has another symbol
    return Style(FURTHER[color], "solid", SYMBOLS[(color + rounds) % len(SYMBOLS)], name)


def figure(alt: str, *, height: int, x: dict[str, Any], y: dict[str, Any], **layout: Any) -> Figure:
    """Create an empty figure with Mergescope's look; background and font colour are the page's.

    Args:
        alt: the figure as text for people who cannot see it.
        height: pixels.
        x: keywords of the x axis; "layers" lists the layers at its places, if it is an axis of layers.
        y: keywords of the y axis, likewise.
        layout: further entries of Plotly's layout.
    """
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": {"text": ""}}
    layers = {axis: keywords.pop("layers") for axis, keywords in (("x", x), ("y", y)) if "layers" in keywords}
    made = Figure(
        alt,
        height=height,
        margin={"l": 8, "r": 12, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend=legend,
        hoverlabel={"namelength": -1},
        xaxis=look_of_axis(**x),
        yaxis=look_of_axis(**y),
        **layout,
    )
    made.layers = layers
    return made


def look_of_axis(title: str = "", **keywords: Any) -> dict[str, Any]:
    """Keywords of an axis with Mergescope's look."""
    return {"automargin": True, **AXIS, "title": {"text": title, "standoff": STANDOFF}, **keywords}


def page(figures: Sequence[tuple[Figure, str]]) -> str:
    """Return an HTML page of figures on white, each under its title. The page needs no internet connection."""
    parts = []
    for number, (fig, title) in enumerate(figures):
        alone = fig.checked()
        alone.update_layout(template="plotly_white", paper_bgcolor="white", plot_bgcolor="white", height=520)
        parts.append(f"<h2>{escape(title)}</h2><p>{escape(fig.alt)}</p>")
        parts.append(alone.to_html(include_plotlyjs=number == 0, full_html=False))
    style = (
        "body{font-family:sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem;color:#222}h2{font-size:1.1rem}"
    )
    head = f'<meta charset="utf-8"><title>Mergescope</title><style>{style}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'
