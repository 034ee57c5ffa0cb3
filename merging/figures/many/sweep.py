"""Figures of a sweep: a measure over one axis as lines with intervals, over two axes as a heat map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from merging.figures.figure import Figure
from merging.figures.many.comparison import ALIGN_COLORS, DASHES
from merging.figures.palette import SIMILARITY, STYLES, figure
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.sweeps.axes import SweepAxis
from merging.jobs.sweeps.measures import measures
from merging.results.sweep_report import NAIVE_TRIPLE, SweepMark, SweepRow, Triple, marks
from merging.text.sweep_words import axes_of, describe_points, measure_text, method_name, value_text


def sweep_figure(
    sweep: SweepRequest, rows: Sequence[SweepRow], measure: str = "barrier_mean", method: Triple | None = None
) -> Figure:
    """Draw a measure: lines over one axis, one per method, or the heat map of one method over two axes.

    method: the method of the heat map; None for the first.
    """
    points = marks(rows, measure)
    if len(sweep.axes) == 1:
        return _lines(sweep, points, measure)
    chosen = method or next((mark.triple for mark in points), sweep.triples()[0])
    return _map(sweep, [mark for mark in points if mark.triple == chosen], measure, method_name(chosen))


def _lines(sweep: SweepRequest, points: Sequence[SweepMark], measure: str) -> Figure:
    axis, scale = axes_of(sweep)[0], _scale(measure)
    fig = figure(
        describe_points(sweep, points, measure), height=440, x=_axis_look(axis, sweep.axes[0][1]),
        y={"title": _title(measure)}, hovermode="x unified",
    )  # fmt: skip
    every = list(dict.fromkeys(mark.triple for mark in points))
    rests = list(dict.fromkeys(triple[1:] for triple in every if triple != NAIVE_TRIPLE))
    for triple in every:
        mine = sorted((mark for mark in points if mark.triple == triple), key=lambda mark: _place(sweep, 0, mark))
        halves = [0.0 if math.isnan(mark.high) else scale * (mark.high - mark.mean) for mark in mine]
        line = (
            STYLES["naive"].line()
            if triple == NAIVE_TRIPLE
            else {
                "color": ALIGN_COLORS.get(triple[0], "#000000"),
                "dash": DASHES[rests.index(triple[1:]) % len(DASHES)],
                "width": 2.5,
            }
        )
        fig.add(
            "scatter",
            x=[mark.values[0] if axis.kind is not str else value_text(mark.values[0]) for mark in mine],
            y=[scale * mark.mean for mark in mine],
            name=method_name(triple, every),
            mode="markers" if axis.kind is str else "lines+markers",  # words have no order
            line=line,
            marker={"size": 7, "symbol": "x" if triple == NAIVE_TRIPLE else "circle", "color": line["color"]},
            error_y={"type": "data", "array": halves, "color": line["color"], "visible": any(halves)},
            hovertemplate="%{y:.1f} %" if measures()[measure].share else "%{y:.3f}",
        )
    lacking = [mark for mark in points if len(mark.by_group) < sweep.groups]
    if lacking:
        fig.add(
            "scatter",
            x=[mark.values[0] if axis.kind is not str else value_text(mark.values[0]) for mark in lacking],
            y=[scale * mark.mean for mark in lacking],
            name=f"fewer than {sweep.groups} groups",
            mode="markers",
            marker={"size": 15, "symbol": "circle-open", "color": "#7F7F7F"},
            hoverinfo="skip",
        )
    return fig


def _map(sweep: SweepRequest, points: Sequence[SweepMark], measure: str, method: str) -> Figure:
    """Heat map: the first axis is horizontal, the second vertical."""
    (_, columns), (_, rows) = sweep.axes
    scale = _scale(measure)
    means = {mark.values: mark.mean for mark in points}
    texts = {mark.values: _cell_text(sweep, mark, measure) for mark in points}
    table = [[means.get((column, row), math.nan) for column in columns] for row in rows]
    horizontal, vertical = axes_of(sweep)
    fig = figure(
        describe_points(sweep, points, measure), height=max(360, 120 + 44 * len(rows)),
        x={"title": horizontal.title, "type": "category"}, y={"title": vertical.title, "type": "category"},
    )  # fmt: skip
    fig.add(
        "heatmap",
        x=[value_text(value) for value in columns],
        y=[value_text(value) for value in rows],
        z=[[scale * value for value in line] for line in table],
        text=[[texts.get((column, row), "") for column in columns] for row in rows],
        texttemplate="%{text}",
        colorscale=SIMILARITY,
        colorbar={"title": {"text": f"{_title(measure)}<br>{method}", "side": "right"}},
        hovertemplate="%{x}, %{y}: %{text}<extra></extra>",
    )
    return fig


def _cell_text(sweep: SweepRequest, mark: SweepMark, measure: str) -> str:
    """The mean of a cell, with the number of its groups where some are lacking."""
    if math.isnan(mark.mean):
        return ""
    groups = len(mark.by_group)
    return measure_text(measure, mark.mean) + (f" ({groups}/{sweep.groups})" if groups < sweep.groups else "")


def _title(measure: str) -> str:
    declared = measures()[measure]
    return f"{declared.title} (%)" if declared.share else declared.title


def _scale(measure: str) -> float:
    """Factor from a stored value to the shown one: shares are shown in per cent."""
    return 100.0 if measures()[measure].share else 1.0


def _place(sweep: SweepRequest, number: int, mark: SweepMark) -> int:
    return sweep.axes[number][1].index(mark.values[number])


def _axis_look(axis: SweepAxis, values: Sequence[Any]) -> dict[str, Any]:
    """Keywords of an axis with these values; logarithmic where equal ratios are equally far apart."""
    if axis.kind is str:
        return {"title": axis.title, "type": "category"}
    logarithmic = axis.logarithmic and min(values) > 0 and len(values) > 1
    ticks = {"tickvals": list(values), "ticktext": [value_text(value) for value in values]}
    return {"title": axis.title, **ticks, **({"type": "log"} if logarithmic else {})}
