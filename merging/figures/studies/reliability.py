"""Figure of one CKA value beside its interval, its chance level, and other similarity measures of the same pair."""

from __future__ import annotations

from typing import Any

from merging.figures.figure import Figure
from merging.figures.palette import STYLES, figure
from merging.studies.reliability import Reliability
from merging.text import numbers


def interval_figure(seen: Reliability) -> Figure:
    """CKA with its 95 % interval, its trimmed value, Procrustes, mutual neighbours, and the permutation null."""
    rows = (
        ("CKA, 95 % interval", seen.value, STYLES["A"]),
        ("CKA without the top 1 %", seen.trimmed, STYLES["B"]),
        ("Procrustes", seen.procrustes, STYLES["ensemble"]),
        ("mutual neighbours", seen.neighbours, STYLES["aligned"]),
        ("chance level (95th percentile)", seen.null, STYLES["naive"]),
    )
    low, high = (numbers.correlation(value) for value in (seen.low, seen.high))
    fig = figure(
        f"CKA {numbers.correlation(seen.value)}, 95 % interval {low} to {high}; "
        + ", ".join(f"{name} {numbers.correlation(value)}" for name, value, _ in rows[1:])
        + ".",
        height=260,
        x={"title": "similarity (1 = alike)", "range": [min(-0.05, seen.low - 0.05), 1.05]},
        y={
            "tickvals": list(range(len(rows))),
            "ticktext": [name for name, *_ in rows],
            "range": [len(rows) - 0.5, -0.5],
        },
        showlegend=False,
    )
    for place, (name, value, style) in enumerate(rows):
        around: dict[str, Any] = {}
        if place == 0:
            ends = {"array": [seen.high - value], "arrayminus": [value - seen.low]}
            around["error_x"] = {"type": "data", "color": style.color, **ends}
        fig.add(
            "scatter",
            x=[value],
            y=[place],
            mode="markers+text",
            text=[numbers.correlation(value)],
            textposition="top center",
            marker={"color": style.color, "size": 11, "symbol": style.symbol.replace("line-ew", "diamond-tall")},
            hovertemplate=f"{name}: {numbers.correlation(value)}<extra></extra>",
            meta=name,
            **around,
        )
    return fig
