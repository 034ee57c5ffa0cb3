"""The numbers of a figure: as series, as rows of a table, and as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from typing import Any

from merging.figures.figure import Figure
from merging.jobs.requests.comparison import csv_text

NUMBERS = ("x", "y", "z", "lowerfence", "q1", "median", "q3", "upperfence")  # parts of a trace with numbers
DIRECTIONS = ("x", "y")  # of error bars


def series(figure: Figure) -> list[dict[str, Any]]:
    """Return the numbers of each trace that is drawn: kind, name, and what it has of NUMBERS, "below" and "above".

    "below" and "above" are the lengths of error bars. Boxes have "q1", "median" and so on.
    """
    traces = [trace for trace in figure.spec()["data"] if trace.get("marker", {}).get("opacity") != 0]
    found = []
    for trace in traces:
        numbers = {name: trace[name] for name in NUMBERS if trace.get(name) is not None}
        bars: dict[str, Any] = next((trace[f"error_{way}"] for way in DIRECTIONS if f"error_{way}" in trace), {})
        if bars.get("visible", bool(bars)):
            numbers |= dict(zip(("below", "above"), ends_of_bars(bars), strict=True))
        found.append({"kind": trace["type"], "name": untagged(trace.get("name", "")), **numbers})
    return found


def figure_csv(figure: Figure) -> str:
    """Return the numbers of a figure as CSV: one line per point with all columns that the figure needs.

    On an axis of layers, the layer's name stands in place of its number.
    """
    lines = [_named(figure, line) for one in series(figure) for line in _lines(one)]
    columns = [name for name in ("series", *NUMBERS, "below", "above") if any(name in line for line in lines)]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_text(value) for name, value in line.items()} for line in lines)
    return out.getvalue()


def figure_table(figure: Figure) -> list[dict[str, Any]]:
    """Return the points of all lines and bars of a figure as rows, as in its CSV; none for pictures and maps."""
    if figure.layout.get("images"):
        return []
    return [_named(figure, line) for one in series(figure) if "z" not in one for line in _lines(one)]


def _named(figure: Figure, line: Mapping[str, Any]) -> dict[str, Any]:
    """A line with the names of layers in place of their numbers on an axis of layers."""
    places = {axis: line.get(axis) for axis in figure.layers}
    return {**line, **{axis: figure.layer_name(axis, place) for axis, place in places.items() if place is not None}}


def _lines(one: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The lines of one series. Gaps between parts of a line, and values that are not defined, are empty."""
    name = one["name"] or one["kind"]
    if "z" in one:
        rows, columns = len(one["z"]), len(one["z"][0])
        xs, ys = one.get("x", range(columns)), one.get("y", range(rows))
        for y, row in zip(ys, one["z"], strict=True):
            yield from ({"series": name, "x": x, "y": y, "z": value} for x, value in zip(xs, row, strict=True))
        return
    values = {key: value for key, value in one.items() if key not in ("kind", "name")}
    for numbers in zip(*values.values(), strict=True):
        line = dict(zip(values, numbers, strict=True))
        if line.get("x", 0) is not None:
            yield {"series": name, **line}


def ends_of_bars(bars: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    """Lengths of a trace's error bars below and above its points."""
    return bars.get("arrayminus", bars["array"]), bars["array"]


def untagged(text: str) -> str:
    """Return a text as a web page shows it: without tags, and with the signs that entities such as &amp; stand for."""
    return unescape(re.sub(r"<[^>]+>", "", re.sub(r"<br ?/?>", "\n", str(text))))
