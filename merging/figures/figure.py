"""Plotly figures as plain data.

plotly.graph_objects validates every value, which takes more time than everything else in drawing a page. A `Figure` is
validated in the tests instead: each one is passed to Plotly there and must come back unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from merging.naming import first_of_block

if TYPE_CHECKING:
    import plotly.graph_objects as go

TEXT = 12  # pixels: size of texts in figures
TALLEST = 1.4  # times the height: an enlarged figure must still fit on a projector
SELECTED = {"fillcolor": "rgba(213,94,0,0.16)", "line": {"color": "#D55E00", "width": 1}, "layer": "above"}


class Figure:
    """Traces and layout of a figure, with Plotly's names (https://plotly.com/javascript/reference).

    Attributes:
        alt: the figure as text for people who cannot see it.
        traces: one dictionary per trace.
        layout: Plotly's layout.
        layers: axis ("x" or "y") -> names of the layers at its places 0, 1, 2, ...; only axes of layers are listed.
    """

    def __init__(self, alt: str, **layout: Any) -> None:
        self.alt = alt
        self.traces: list[dict[str, Any]] = []
        self.layout: dict[str, Any] = layout
        self.layers: dict[str, tuple[str, ...]] = {}

    def add(self, kind: str, **trace: Any) -> None:
        """Add a trace of a kind such as "scatter". Values may be arrays."""
        self.traces.append({"type": kind, **trace})

    def add_shape(self, **shape: Any) -> None:
        """Add a shape to the layout."""
        self.layout.setdefault("shapes", []).append(shape)

    def add_note(self, **annotation: Any) -> None:
        """Add an annotation, a text without an arrow."""
        self.layout.setdefault("annotations", []).append({"showarrow": False, **annotation})

    def add_level(self, y: float, line: dict[str, Any], text: str = "") -> None:
        """Add a horizontal line at `y` across the plot, with its text above the left end."""
        self.add_shape(type="line", x0=0, x1=1, xref="x domain", y0=y, y1=y, yref="y", line=line)
        if text:
            self.add_note(text=text, x=0, xref="x domain", xanchor="left", y=y, yref="y", yanchor="bottom")

    def add_upright(self, x: float, line: dict[str, Any], text: str = "") -> None:
        """Add a vertical line at `x` across the plot, with its text beside the upper end in the line's colour."""
        self.add_shape(type="line", x0=x, x1=x, xref="x", y0=0, y1=1, yref="y domain", line=line)
        if text:
            places: dict[str, Any] = {"x": x, "xref": "x", "xanchor": "left", "y": 1, "yref": "y domain"}
            self.add_note(text=text, **places, yanchor="top", font={"color": line["color"]})

    def enlarged(self, factor: float) -> Figure:
        """Return a copy for a projector: texts `factor` times as large, and higher by up to TALLEST."""
        font = {"size": round(TEXT * factor)}
        layout = {**self.layout, "font": font, "legend": {**self.layout.get("legend", {}), "font": font}}
        layout["height"] = round(self.layout.get("height", 400) * min(factor, TALLEST))
        for name in [name for name in layout if name.startswith(("xaxis", "yaxis"))]:  # the page's theme sets them, too
            title = {**layout[name].get("title", {}), "font": font}
            layout[name] = {**layout[name], "tickfont": font, "title": title}
        large = Figure(self.alt, **layout)
        large.traces, large.layers = self.traces, self.layers
        return large

    def layer_at(self, point: Mapping[str, Any]) -> str:
        """Return the layer of a clicked point, {"x": ..., "y": ...}; "" if the figure has no axis of layers."""
        for axis, names in self.layers.items():
            place = point.get(axis)
            if isinstance(place, int | float) and 0 <= round(place) < len(names):
                return first_of_block(names[round(place)])
        return ""

    def layer_name(self, axis: str, place: Any) -> Any:
        """Return the name of the layer at a place on an axis of layers; the place itself if it is none of a layer."""
        names = self.layers[axis]
        whole = isinstance(place, Real) and 0 <= float(place) < len(names) and float(place).is_integer()
        return names[int(place)] if whole else place

    def has_layer(self, layer: str) -> bool:
        """Whether the layer is on an axis of this figure."""
        return any(find_layer(layer, names) is not None for names in self.layers.values())

    def with_selected(self, layer: str) -> Figure:
        """Return a copy in which a band marks the layer on every axis of layers that has it."""
        marked = Figure(self.alt, **{**self.layout, "shapes": [*self.layout.get("shapes", ())]})
        marked.traces, marked.layers = self.traces, self.layers
        for axis, names in self.layers.items():
            place, other = find_layer(layer, names), "y" if axis == "x" else "x"
            if place is not None:
                ends = {f"{axis}0": place - 0.5, f"{axis}1": place + 0.5, f"{other}0": 0, f"{other}1": 1}
                references = {f"{axis}ref": axis, f"{other}ref": f"{other} domain"}
                marked.add_shape(type="rect", **ends, **references, **SELECTED)
        return marked

    def spec(self) -> dict[str, Any]:
        """Convert to JSON values {"data": ..., "layout": ...}; arrays become lists, NaN and infinity become None."""
        return {"data": _plain(self.traces), "layout": _plain(self.layout)}

    def checked(self) -> go.Figure:
        """Convert to Plotly's own figure. Raises ValueError if Plotly refuses a property or a value."""
        import plotly.graph_objects as go

        return go.Figure(self.spec())


def find_layer(layer: str, names: Sequence[str]) -> int | None:
    """Return the place of a layer among `names`, None if it is not there.

    A name may also be the block that begins with the layer, a module inside it, or the module that contains it.
    """
    firsts = [first_of_block(name) for name in names]
    if layer in firsts:
        return firsts.index(layer)
    related = (
        place for place, name in enumerate(firsts) if name.startswith(f"{layer}.") or layer.startswith(f"{name}.")
    )
    return next(related, None)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
