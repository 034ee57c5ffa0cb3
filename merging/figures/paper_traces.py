"""Traces of a Figure as matplotlib artists, one function per kind of trace."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba

from merging.figures.series import DIRECTIONS, ends_of_bars, untagged

DASHES = {"solid": "-", "dot": ":", "dash": "--", "dashdot": "-."}
MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "diamond-open": "D", "x": "x", "cross": "P", "star": "*",
    "triangle-up": "^", "triangle-down": "v", "pentagon": "p", "hexagon": "h", "hourglass": "X", "line-ew": "_",
}  # fmt: skip
BAR = 0.75  # share of the distance between two places that their bars fill
PIXEL = 0.55  # points per pixel of the screen's figure: its lines and markers are thinner on paper
ALIGN = {"left": "right", "center": "center", "right": "left", "top": "bottom", "middle": "center", "bottom": "top"}
TEXT = 7  # points
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of red, green and blue (ITU-R BT.709)
Color = tuple[float, float, float, float]


def draw_trace(ax: Axes, trace: dict[str, Any], layout: dict[str, Any]) -> None:
    """Draw one trace. Raises KeyError for a kind that no figure of Mergescope has."""
    KINDS[trace["type"]](ax, trace, layout)


def color(value: str) -> Color:
    """Convert a colour of a web page, such as "rgba(127,127,127,0.2)", to matplotlib's."""
    parts = re.fullmatch(r"rgba?\(([^)]*)\)", value.replace(" ", ""))
    if parts is None:
        return to_rgba(value)
    red, green, blue, *opacity = (float(part) for part in parts[1].split(","))
    return red / 255, green / 255, blue / 255, opacity[0] if opacity else 1.0


def numeric(values: Sequence[Any]) -> np.ndarray:
    """Return numbers as float64, with NaN for gaps; names of categories as they are."""
    array = np.asarray(values, dtype=object)
    if any(isinstance(value, str) for value in array.flat):
        return array
    return np.array([[np.nan if value is None else float(value) for value in array.flat]]).reshape(array.shape)


def _scatter(ax: Axes, trace: dict[str, Any], layout: dict[str, Any]) -> None:
    mode, marker, line = trace.get("mode", "lines"), trace.get("marker", {}), trace.get("line", {})
    if marker.get("opacity") == 0 and "text" not in mode:  # an invisible target for clicks
        return
    x, y = numeric(trace["x"]), numeric(trace["y"])
    shade = line.get("color") or marker.get("color") or "#444444"
    symbol = MARKERS.get(str(marker.get("symbol", "circle")), "o") if "markers" in mode else ""
    one = isinstance(shade, str) and not isinstance(marker.get("color"), (list, np.ndarray))
    if ("lines" in mode or "markers" in mode) and one and marker.get("opacity") != 0:
        ax.plot(
            x, y, color=color(shade), linestyle=DASHES[line.get("dash", "solid")] if "lines" in mode else "",
            linewidth=PIXEL * line.get("width", 2), marker=symbol, markersize=PIXEL * float(marker.get("size", 6)),
            markerfacecolor="none" if "open" in str(marker.get("symbol", "")) else color(shade),
            alpha=trace.get("opacity"), label=_label(trace, layout), clip_on=trace.get("cliponaxis", True), zorder=3,
        )  # fmt: skip
    elif "markers" in mode and marker.get("opacity") != 0:
        shades = [color(value) for value in marker["color"]]
        size = (PIXEL * np.asarray(marker.get("size", 6), float)) ** 2
        ax.scatter(x, y, c=shades, s=size, marker=symbol or "o", label=_label(trace, layout), zorder=3)
    _error_bars(ax, trace, x, y)
    if "text" in mode:
        _texts(ax, trace, x, y)


def _error_bars(ax: Axes, trace: dict[str, Any], x: np.ndarray, y: np.ndarray) -> None:
    for direction in DIRECTIONS:
        bars = trace.get(f"error_{direction}")
        if bars is not None and bars.get("visible", True):
            lengths: dict[str, Any] = {f"{direction}err": [numeric(part) for part in ends_of_bars(bars)]}
            shade = color(bars.get("color") or trace.get("marker", {}).get("color") or "#444444")
            ax.errorbar(x, y, **lengths, fmt="none", ecolor=shade, elinewidth=0.8, capsize=1.5, zorder=2)


def _texts(ax: Axes, trace: dict[str, Any], x: np.ndarray, y: np.ndarray) -> None:
    vertical, _, horizontal = trace.get("textposition", "middle center").partition(" ")
    shades = trace.get("textfont", {}).get("color", "black")
    shades = [shades] * len(x) if isinstance(shades, str) else shades
    offset = {"top": 3, "bottom": -3}.get(vertical, 0)
    words = [trace["text"]] * len(x) if isinstance(trace["text"], str) else trace["text"]
    for at, up, word, shade in zip(x, y, words, shades, strict=True):
        ax.annotate(
            untagged(word), (at, up), (0, offset), textcoords="offset points", color=color(shade), fontsize=TEXT - 1,
            ha=ALIGN.get(horizontal or "center", "center"), va=ALIGN.get(vertical, "center"), zorder=4,
        )  # fmt: skip


def draw_bars(ax: Axes, traces: Sequence[dict[str, Any]], layout: dict[str, Any]) -> None:
    """Draw all bar traces of a figure: beside each other, or on each other where the layout's `barmode` is "stack"."""
    if not traces:
        return
    flat = traces[0].get("orientation") == "h"
    places, lengths = ("y", "x") if flat else ("x", "y")
    names = list(dict.fromkeys(name for trace in traces for name in trace[places]))
    is_named = any(isinstance(name, str) for name in names)
    at = {name: number if is_named else float(name) for number, name in enumerate(names)}
    stacked = layout.get("barmode") in ("stack", "relative")
    thick = traces[0].get("width") or (BAR if stacked else BAR / len(traces))
    start = dict.fromkeys(names, 0.0)
    for number, trace in enumerate(traces):
        shift = 0.0 if stacked else (number - (len(traces) - 1) / 2) * thick
        values = numeric(trace[lengths])
        begin = np.array([start[name] if stacked else 0.0 for name in trace[places]])
        where = np.array([at[name] for name in trace[places]]) + shift
        shades = trace.get("marker", {}).get("color", "#444444")
        face = color(shades) if isinstance(shades, str) else [color(value) for value in shades]
        look: dict[str, Any] = {"color": face, "label": _label(trace, layout)}
        if flat:
            bars = ax.barh(where, values, height=thick, left=begin, **look)
        else:
            bars = ax.bar(where, values, width=thick, bottom=begin, **look)
        _error_bars(ax, trace, *((begin + values, where) if flat else (where, begin + values)))
        if trace.get("text") is not None:
            place: Literal["center", "edge"] = "center" if stacked else "edge"
            ax.bar_label(
                bars, [untagged(text) for text in trace["text"]], fontsize=TEXT - 1, padding=2, label_type=place
            )
        for name, value in zip(trace[places], values, strict=True):
            start[name] += float(value)
    if is_named:
        (ax.set_yticks if flat else ax.set_xticks)(range(len(names)), [untagged(name) for name in names])


def draw_boxes(ax: Axes, traces: Sequence[dict[str, Any]]) -> None:
    """Draw all box traces of a figure, one box each, in order."""
    keys = {"q1": "q1", "med": "median", "q3": "q3", "whislo": "lowerfence", "whishi": "upperfence"}
    for number, trace in enumerate(traces):
        box: dict[str, Any] = {ours: float(trace[theirs][0]) for ours, theirs in keys.items()}
        flat = trace.get("orientation") == "h"
        shade = color(trace.get("marker", {}).get("color", "#444444"))
        box |= {"fliers": [], "label": untagged(trace["name"])}
        parts = ax.bxp(
            [box], positions=[number], widths=0.5, patch_artist=True,
            orientation="horizontal" if flat else "vertical", medianprops={"color": "black"}, manage_ticks=False,
        )  # fmt: skip
        parts["boxes"][0].set(facecolor=(*shade[:3], 0.35), edgecolor=shade)
    if traces:
        ticks = ax.set_yticks if traces[0].get("orientation") == "h" else ax.set_xticks
        ticks(range(len(traces)), [untagged(trace["name"]) for trace in traces])


def _heatmap(ax: Axes, trace: dict[str, Any], layout: dict[str, Any]) -> None:
    z = numeric(trace["z"])
    rows, columns = z.shape
    x, y = (trace.get(name) for name in "xy")
    across = _edges(x, columns)
    down = _edges(y, rows)
    low, high = (trace.get(name, bound) for name, bound in (("zmin", np.nanmin(z)), ("zmax", np.nanmax(z))))
    image = ax.pcolormesh(across, down, z, cmap=color_map(trace["colorscale"]), vmin=low, vmax=high, rasterized=False)
    _color_bar(ax, image, trace)
    for set_ticks, names in ((ax.set_xticks, x), (ax.set_yticks, y)):
        if names is not None and numeric(names).dtype == object:
            set_ticks(range(len(names)), [untagged(name) for name in names])
    if "texttemplate" in trace:
        shades = image.to_rgba(z)
        for (row, column), word in np.ndenumerate(np.asarray(trace["text"], dtype=object)):
            dark = float(shades[row, column, :3] @ LUMINANCE) < 0.5 and not np.isnan(z[row, column])
            ink = "white" if dark else "black"
            ax.text(column, row, untagged(word), ha="center", va="center", fontsize=TEXT - 1, color=ink)


def _edges(centres: Any, count: int) -> np.ndarray:
    """Return the edges (count + 1,) of cells around their centres; numbers from 0 for names and missing centres."""
    values = numeric(centres) if centres is not None else np.arange(count)
    values = np.arange(count, dtype=float) if values.dtype == object else values.astype(float)
    middle = (values[1:] + values[:-1]) / 2
    step = values[1] - values[0] if count > 1 else 1.0
    return np.concatenate([[values[0] - step / 2], middle, [values[-1] + step / 2]])


def _contour(ax: Axes, trace: dict[str, Any], layout: dict[str, Any]) -> None:
    x, y, z = (numeric(trace[name]) for name in "xyz")
    low, high = trace.get("zmin", np.nanmin(z)), trace.get("zmax", np.nanmax(z))
    levels = np.linspace(low, max(high, low + 1e-9), 25)
    beyond = "max" if np.nanmax(z) > high else "neither"
    image = ax.contourf(x, y, z, levels=levels, cmap=color_map(trace["colorscale"]), extend=beyond)
    ax.contour(x, y, z, levels=levels, colors="white", linewidths=0.2, alpha=0.5)
    _color_bar(ax, image, trace)


def _color_bar(ax: Axes, image: Any, trace: dict[str, Any]) -> None:
    if trace.get("showscale", True):
        figure = ax.figure
        bar = figure.colorbar(image, ax=ax, shrink=0.9, pad=0.02)
        bar.set_label(untagged(trace.get("colorbar", {}).get("title", {}).get("text", "")), fontsize=TEXT)
        bar.ax.tick_params(labelsize=TEXT - 1)


def color_map(scale: Any) -> LinearSegmentedColormap:
    """Convert a colour scale, pairs of a place in 0..1 and a colour, to a colour map."""
    return LinearSegmentedColormap.from_list("scale", [(float(at), color(shade)) for at, shade in scale])


def _label(trace: dict[str, Any], layout: dict[str, Any]) -> str | None:
    """Name of the trace in the legend, None for a trace without one."""
    shown = trace.get("showlegend", True) and layout.get("showlegend", True)
    return untagged(trace["name"]) if shown and trace.get("name") else None


KINDS: dict[str, Callable[[Axes, dict[str, Any], dict[str, Any]], None]] = {
    "scatter": _scatter,
    "heatmap": _heatmap,
    "contour": _contour,
}
