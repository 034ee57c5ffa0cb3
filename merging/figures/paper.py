"""Figures for papers: SVG, PDF and PNG from the data of a Figure, with matplotlib and without a browser.

SVG and PDF are vector graphics with embedded fonts (PDF: TrueType, font type 42), on white. The same figure gives the
same bytes.
"""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from merging.errors import InvalidSetting
from merging.figures.figure import Figure
from merging.figures.series import untagged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Format = Literal["svg", "pdf", "png"]
FORMATS: tuple[Format, ...] = ("svg", "pdf", "png")
WIDTHS = {"one column": 3.35, "two columns": 6.9}  # inches
SCREEN = 560  # pixels: the width of a figure on the screen for which its height is chosen
RESOLUTION = 300  # dots per inch of a PNG
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 8, "axes.labelsize": 8, "legend.fontsize": 7, "xtick.labelsize": 7,
    "ytick.labelsize": 7, "axes.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False,
    "pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "mergescope", "axes.axisbelow": True,
    "text.parse_math": False,  # texts come from users: "$" is a sign like others
}  # fmt: skip
_DRAWING = threading.Lock()  # matplotlib's settings belong to the whole process


def figure_file(figure: Figure, format: Format, width: float = WIDTHS["one column"]) -> bytes:
    """Return the figure as a file. width: inches. Raises InvalidSetting for an unknown format."""
    if format not in FORMATS:
        raise InvalidSetting(f"Figures can be written as {', '.join(FORMATS)}, not as {format!r}.")
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    spec = figure.spec()
    layout, out = spec["layout"], io.BytesIO()
    height = width * min(max(layout.get("height", 400) / SCREEN, 0.45), 1.4)
    with _DRAWING, matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(width, height), layout="constrained")
        _draw(canvas, spec["data"], layout)
        dates: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
        canvas.savefig(out, format=format, dpi=RESOLUTION, metadata=dates[format])
    return out.getvalue()


def _draw(canvas: Canvas, traces: list[dict[str, Any]], layout: dict[str, Any]) -> None:
    from merging.figures.paper_traces import draw_bars, draw_boxes, draw_trace

    ax = canvas.subplots()
    for image in layout.get("images", ()):
        _picture(ax, image, layout)
    together = {kind: [trace for trace in traces if trace["type"] == kind] for kind in ("bar", "box")}
    draw_bars(ax, together["bar"], layout)
    draw_boxes(ax, together["box"])
    for trace in traces:
        if trace["type"] not in together:
            draw_trace(ax, trace, layout)
    for which, axis in (("x", layout.get("xaxis", {})), ("y", layout.get("yaxis", {}))):
        _axis(ax, which, axis)
    for shape in layout.get("shapes", ()):
        _shape(ax, shape)
    for note in layout.get("annotations", ()):
        _note(ax, note)
    handles, labels = ax.get_legend_handles_labels()
    if labels and layout.get("showlegend", True):
        columns = max(1, min(len(labels), int(canvas.get_size_inches()[0] // (0.5 + 0.065 * max(map(len, labels))))))
        canvas.legend(handles, labels, loc="outside upper left", ncols=columns, frameon=False, handlelength=2.4)


def _axis(ax: Axes, which: str, axis: Mapping[str, Any]) -> None:
    if axis.get("visible") is False:
        (ax.xaxis if which == "x" else ax.yaxis).set_visible(False)
        ax.spines[:].set_visible(False)
    title = untagged(axis.get("title", {}).get("text", ""))
    ax.set(**{f"{which}label": title})
    if axis.get("type") == "log":
        ax.set(**{f"{which}scale": "log"})
    if "range" in axis:
        low, high = (10.0**end if axis.get("type") == "log" else end for end in axis["range"])
        ax.set(**{f"{which}lim": (low, high)})
    elif axis.get("autorange") == "reversed":
        (ax.invert_xaxis if which == "x" else ax.invert_yaxis)()
    if "tickvals" in axis:
        names = [untagged(name) for name in axis["ticktext"]] if "ticktext" in axis else None
        slanted = which == "x" and names is not None and sum(map(len, names)) > 40
        (ax.set_xticks if which == "x" else ax.set_yticks)(axis["tickvals"], names)
        if slanted:
            ax.tick_params(axis="x", rotation=45)
    if axis.get("showgrid", True) and axis.get("visible", True):
        ax.grid(axis=which, color="#dddddd", linewidth=0.4)  # type: ignore[arg-type]


def _shape(ax: Axes, shape: Mapping[str, Any]) -> None:
    from matplotlib.patches import Rectangle

    from merging.figures.paper_traces import DASHES, PIXEL, color

    line = shape.get("line", {})
    look: dict[str, Any] = {"linewidth": PIXEL * line.get("width", 1), "linestyle": DASHES[line.get("dash", "solid")]}
    across, up = shape.get("xref", "x"), shape.get("yref", "y")
    transform = ax.get_xaxis_transform() if "domain" in up or up == "paper" else ax.transData
    transform = ax.get_yaxis_transform() if "domain" in across or across == "paper" else transform
    x, y = (shape["x0"], shape["x1"]), (shape["y0"], shape["y1"])
    shade = color(line.get("color", "#444444"))
    if shape["type"] == "line":
        ax.plot(x, y, color=shade, transform=transform, scalex=False, scaley=False, **look)
        return
    box = Rectangle((x[0], y[0]), x[1] - x[0], y[1] - y[0], fill=False, edgecolor=shade, transform=transform, **look)
    ax.add_patch(box)


def _note(ax: Axes, note: Mapping[str, Any]) -> None:
    from merging.figures.paper_traces import PIXEL, TEXT, color

    inside = [note.get(f"{axis}ref", axis) for axis in "xy"]
    across, up = ("axes fraction" if "domain" in ref or ref == "paper" else "data" for ref in inside)
    shift = PIXEL * note.get("xshift", 0), PIXEL * note.get("yshift", 0)
    ax.annotate(
        untagged(note["text"]), (note["x"], note["y"]), shift, xycoords=(across, up), textcoords="offset points",
        color=color(note.get("font", {}).get("color", "#333333")), fontsize=TEXT, ha=note.get("xanchor", "center"),
        va={"middle": "center", "top": "top", "bottom": "bottom"}.get(note.get("yanchor", "middle"), "center"),
        annotation_clip=False, bbox=_plate(note),
    )  # fmt: skip


def _plate(note: Mapping[str, Any]) -> dict[str, Any] | None:
    """The ground of a note that lies on a picture, None where a note has none."""
    if "bgcolor" not in note:
        return None
    return {"facecolor": note["bgcolor"], "alpha": note.get("opacity", 1), "edgecolor": "none", "pad": 0.5}


def _picture(ax: Axes, image: Mapping[str, Any], layout: Mapping[str, Any]) -> None:
    """Draw a picture that the figure holds as a data URL; (x, y) is its upper left corner."""
    from PIL import Image

    data = base64.b64decode(image["source"].partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    first, last = layout["yaxis"]["range"]
    left, top, down = image["x"], image["y"], image["sizey"] * (1 if first > last else -1)
    ax.imshow(pixels, extent=(left, left + image["sizex"], top + down, top), aspect="equal", zorder=0)
