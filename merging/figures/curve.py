"""Figure of the path from A to B: loss, accuracy or calibration error over lambda."""

from __future__ import annotations

from typing import Literal

import numpy as np

from merging.figures.figure import Figure
from merging.figures.palette import STYLES, figure
from merging.results.reports import Barrier, LossCurve, MergeReport, Metric
from merging.text import numbers

Above = Literal["mean", "chord"]
AXES: dict[Metric, str] = {"loss": "Loss (nats per image)", "accuracy": "Accuracy (%)", "ece": "Calibration error (%)"}
WORDS: dict[Metric, str] = {"loss": "loss", "accuracy": "accuracy", "ece": "calibration error"}
LAMBDA = "λ: share of B in the weights (0 = A, 1 = B)"
KINDS = ("naive", "aligned", "corrected")
PLOT = 300  # pixels: approximate height that the curves span
LINE, NEAR = 18, 0.2  # a label's height in pixels; labels closer than NEAR in lambda can overlap
LABEL_AT = {"naive": 0.3, "aligned": 0.45, "corrected": 0.6}  # share of a tall bracket's height; no two labels overlap


def curves_of(report: MergeReport, split: str) -> dict[str, LossCurve]:
    """Return the curves of a split by kind, in the order in which they are drawn."""
    return {kind: report.curves[kind][split] for kind in KINDS if split in report.curves.get(kind, {})}


def curve_label(report: MergeReport, kind: str) -> str:
    """Return the name of a curve; "aligned average" if only the alignment distinguishes it from the naive average."""
    plain = report.request.get("combine", "average") == "average"
    if kind == "naive" or (plain and report.request.get("align", "none") != "none"):
        return STYLES[kind].label
    return "merge" if kind == "aligned" else "merge (corrected)"


def curve_figure(report: MergeReport, metric: Metric = "loss", split: str = "test", above: Above = "mean") -> Figure:
    """Draw all curves of a split, A and B as dots, the ensemble as a line, and each barrier as a bracket at its peak.

    above: the reference that barriers are measured from, the mean of the ends or the chord between them.
    """
    curves = curves_of(report, split)
    fig = figure(
        describe_curves(report, metric, split, above),
        height=400,
        x={"title": LAMBDA, "range": [-0.04, 1.04], "tickvals": [0, 0.25, 0.5, 0.75, 1]},
        y={"title": AXES[metric]},
        hovermode="x unified",
    )
    for kind, curve in curves.items():
        _add_curve(fig, kind, curve, metric, curve_label(report, kind))
    _add_brackets(fig, curves, metric, above)
    if curves:
        _add_ends(fig, next(iter(curves.values())), metric)
    if split in report.ensemble:
        _add_ensemble(fig, getattr(report.ensemble[split], metric), metric)
    return fig


def base_at(curve: LossCurve, metric: Metric, above: Above, at: float) -> float:
    """Return the reference value of the barrier at lambda `at`: the mean of the ends, or the chord between them."""
    first, last = (getattr(end, metric) for end in curve.ends)
    return (first + last) / 2 if above == "mean" else first + at * (last - first)


def describe_curves(report: MergeReport, metric: Metric, split: str, above: Above = "mean") -> str:
    """Describe the figure as text: the ends, and the half-way value and barrier of every curve."""
    curves = curves_of(report, split)
    if not curves:
        return "No curves: " + (report.missing or "this run measured none.")
    write = numbers.metric(metric)
    first, last = (write(getattr(end, metric)) for end in next(iter(curves.values())).ends)
    parts = [f"{WORDS[metric].capitalize()} on {split} images along the line from A ({first}) to B ({last})"]
    for kind, curve in curves.items():
        barrier = curve.barrier(metric, above=above)
        height = numbers.signed_difference(metric, barrier.height)
        label = curve_label(report, kind)
        parts.append(f"{label}: {write(curve.middle(metric))} half-way, barrier {height} at λ {barrier.at:.2f}")
    if split in report.ensemble:
        parts.append(f"ensemble: {write(getattr(report.ensemble[split], metric))}")
    return "; ".join(parts) + "."


def _scale(metric: Metric) -> float:
    return 1.0 if metric == "loss" else 100.0


def _hover(metric: Metric) -> str:
    return "%{y:.3f}" if metric == "loss" else "%{y:.1f} %"


def _add_curve(fig: Figure, kind: str, curve: LossCurve, metric: Metric, label: str) -> None:
    style = STYLES[kind]
    fig.add(
        "scatter",
        x=curve.lambdas,
        y=getattr(curve, metric) * _scale(metric),
        name=label,
        mode="lines+markers",
        line=style.line(),
        marker=style.marker(5),
        hovertemplate=_hover(metric),
        legendgroup=kind,
        meta=kind,
    )


def _bracket(curve: LossCurve, metric: Metric, above: Above) -> tuple[float, float]:
    """Reference value and peak value of a barrier, in the units of the y axis."""
    barrier: Barrier = curve.barrier(metric, above=above)
    base, sign = base_at(curve, metric, above, barrier.at), -1 if metric == "accuracy" else 1
    return base * _scale(metric), (base + sign * barrier.height) * _scale(metric)


def _add_brackets(fig: Figure, curves: dict[str, LossCurve], metric: Metric, above: Above) -> None:
    """Draw each barrier as a bracket with its height as the label.

    The label of a tall bracket stands beside it, near its foot; the label of a small one stands outside all curves with
    small barriers. Of the merge's two labels, the one whose peak comes first goes to the left. Labels that would
    overlap are moved apart.
    """
    brackets = {kind: _bracket(curve, metric, above) for kind, curve in curves.items()}
    values = [getattr(curve, metric) for curve in curves.values()]
    room = 0.12 * float(np.ptp(np.concatenate(values))) * _scale(metric) if values else 0.0
    outermost = min if metric == "accuracy" else max
    flat = [high for low, high in brackets.values() if abs(high - low) < room]
    own = {kind: curves[kind].barrier(metric, above=above) for kind in ("aligned", "corrected") if kind in curves}
    peaks = {kind: barrier.at for kind, barrier in own.items() if barrier.height > 0}
    first = min(peaks, key=peaks.__getitem__, default="")
    first = first if len(peaks) > 1 else "aligned"
    pixels = 0.12 * PLOT / room if room else 0.0  # pixels per unit of the metric
    placed: list[tuple[bool, float, float]] = []
    for kind, (low, high) in brackets.items():
        barrier = curves[kind].barrier(metric, above=above)
        if barrier.height <= 0:  # the path is nowhere worse than the reference
            continue
        _add_bracket(fig, kind, barrier.at, low, high)
        small = abs(high - low) < room
        edge = not 0.15 <= barrier.at <= 0.85  # near an end there is room on one side only
        left = barrier.at > 0.85 or (
            not edge and (kind == first or (kind not in peaks and not small and barrier.at > 0.6))
        )
        above_label = 32 if small and edge and kind == "aligned" else 14
        y = outermost(flat) if small else low + LABEL_AT[kind] * (high - low)
        shift = (-above_label if metric == "accuracy" else above_label) if small else 0
        shift += _clear(placed, left, barrier.at, pixels * y + shift, LINE if metric == "accuracy" else -LINE)
        placed.append((left, barrier.at, pixels * y + shift))
        fig.add_note(
            x=barrier.at,
            y=y,
            text=f"barrier {numbers.signed_difference(metric, barrier.height)}",
            font={"color": STYLES[kind].color, "size": 13},
            xanchor="right" if left else "left",
            xshift=-10 if left else 10,
            yshift=shift,
        )


def _clear(placed: list[tuple[bool, float, float]], left: bool, x: float, height: float, step: int) -> int:
    """Pixels by which a label must move so that it overlaps none of those placed on its side.

    placed: (on the left, x, height in pixels) of each earlier label.  step: pixels per move, towards the bracket's
    base, where there is no curve.
    """
    beside = [other for side, at, other in placed if side == left and abs(x - at) < NEAR]
    shift = 0
    while any(abs(height + shift - other) < LINE for other in beside):
        shift += step
    return shift


def _add_bracket(fig: Figure, kind: str, at: float, low: float, high: float) -> None:
    """Draw the bracket, an H turned on its side, at the peak from the reference value to the curve."""
    wide = 0.012
    fig.add(
        "scatter",
        x=[at - wide, at + wide, None, at, at, None, at - wide, at + wide],
        y=[low, low, None, low, high, None, high, high],
        mode="lines",
        line={"color": STYLES[kind].color, "width": 1.5},
        name=f"barrier of {STYLES[kind].label}",
        legendgroup=kind,
        showlegend=False,
        hoverinfo="skip",
        meta=f"bracket {kind}",
    )


def _add_ends(fig: Figure, curve: LossCurve, metric: Metric) -> None:
    for name, at, end in zip("AB", (0.0, 1.0), curve.ends, strict=True):
        value = getattr(end, metric) * _scale(metric)
        fig.add(
            "scatter",
            x=[at],
            y=[value],
            name=name,
            mode="markers+text",
            text=[f"<b>{name}</b>"],
            textposition="bottom center" if metric == "accuracy" else "top center",
            marker={**STYLES[name].marker(12), "line": {"width": 1, "color": "white"}},
            hovertemplate=_hover(metric),
            showlegend=False,
            meta=name,
            cliponaxis=False,
        )


def _add_ensemble(fig: Figure, value: float, metric: Metric) -> None:
    style = STYLES["ensemble"]
    fig.add(
        "scatter",
        x=np.array([0.0, 1.0]),
        y=np.full(2, value * _scale(metric)),
        name=style.label,
        mode="lines",
        line=style.line(1.8),
        hovertemplate=_hover(metric),
        meta="ensemble",
    )
