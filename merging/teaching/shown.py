"""Figures of lessons: the app's own figures of stored runs, of which a lesson may leave out what it asks about."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from merging.errors import InvalidSetting
from merging.figures.curve import curve_figure
from merging.figures.figure import Figure
from merging.figures.many.sweep import sweep_figure
from merging.figures.palette import SIMILARITY, figure
from merging.figures.scores import scores_figure
from merging.figures.similarity import TITLES, diagonal_figure, heatmap
from merging.figures.studies.lab import lab_figure
from merging.figures.studies.landscape import landscape_figure
from merging.figures.studies.why import match_quality_figure, shares_figure, variance_figure
from merging.figures.units import match_histogram
from merging.jobs.ledger.ledger import Ledger
from merging.results.sweep_report import NAIVE
from merging.teaching.lesson import Shown
from merging.teaching.sources import finding_of, read_merge, round_pictures, sweep_of, units_of_layer
from merging.teaching.toy import SIDE, TOY, changed_toy, grid

PIXELS = 112  # side of a picture in a row of pictures
Values = Mapping[str, Any]


def shown_figure(ledger: Ledger, shown: Shown) -> Figure:
    """The figure of a step. Raises InvalidSetting if there is none of this name, or its run is not here."""
    made, key = _made(ledger), repr(shown)
    if key not in made:
        made[key] = _make(ledger, shown)
    return made[key]


@lru_cache(maxsize=8)
def _made(ledger: Ledger) -> dict[str, Figure]:
    """Figures that were made, by the text of what is shown: results never change."""
    return {}


def _make(ledger: Ledger, shown: Shown) -> Figure:
    if shown.figure not in FIGURES:
        raise InvalidSetting(f"There is no figure {shown.figure!r}; known: {', '.join(FIGURES)}")
    try:
        return FIGURES[shown.figure](ledger, shown.run, shown.values)
    except (StopIteration, ValueError, AttributeError, IndexError, TypeError) as error:
        raise InvalidSetting(f"The figure {shown.figure!r} of {shown.run!r} cannot be drawn: {error}") from error
    except KeyError as error:
        raise InvalidSetting(f"The figure {shown.figure!r} of the run {shown.run!r} lacks {error.args[0]!r}") from error


def _curve(ledger: Ledger, run: str, values: Values) -> Figure:
    """paths: which of the curves are drawn (default all)."""
    report, paths = read_merge(ledger, run), values.get("paths")
    if paths is not None:
        report = replace(report, curves={kind: report.curves[kind] for kind in paths}, ensemble={})
    return curve_figure(report, values.get("metric", "loss"), values.get("split", "test"))


def _scores(ledger: Ledger, run: str, values: Values) -> Figure:
    """networks: which of the networks are drawn (default all); the ensemble only among all."""
    report, networks = read_merge(ledger, run), values.get("networks")
    if networks is not None:
        report = replace(report, scores={name: report.scores[name] for name in networks}, ensemble={})
    return scores_figure(report, values.get("metric", "accuracy"))


def _similarity(ledger: Ledger, run: str, values: Values) -> Figure:
    pair = values["pair"]
    return heatmap(read_merge(ledger, run).similarity[pair], TITLES[pair])


def _layers(ledger: Ledger, run: str, values: Values) -> Figure:
    """pairs: which pairs of networks are drawn (default all)."""
    maps = read_merge(ledger, run).similarity
    return diagonal_figure({pair: maps[pair] for pair in values.get("pairs", maps)})


def _sweep(ledger: Ledger, run: str, values: Values) -> Figure:
    """only: "naive" or "merge", to draw one of the two lines."""
    sweep, rows = sweep_of(ledger, run)
    if "only" in values:
        keep = values["only"] == "naive"
        rows = tuple(
            replace(row, measures={name: v for name, v in row.measures.items() if name.startswith(NAIVE) == keep})
            for row in rows
        )
    return sweep_figure(sweep, rows, values.get("measure", "barrier_mean"))


def _pictures(ledger: Ledger, run: str, values: Values) -> Figure:
    """A round of the game: the picture of A's unit, and those of four units of B."""
    pictures = round_pictures(ledger, run, values["layer"], int(values.get("round", 0)))
    names = ["Unit of A", *(f"Picture {number}" for number in range(1, len(pictures)))]
    fig = figure(
        "Five pictures in a row: what a unit of A responds to, then Pictures 1 to 4, what four units of B respond to.",
        height=190,
        x={"range": [-0.05, len(names)], "visible": False, "fixedrange": True},
        y={"range": [-0.16, 1], "visible": False, "fixedrange": True, "scaleanchor": "x"},
        showlegend=False,
        dragmode=False,
    )
    fig.layout["images"] = [
        {"source": _png(pixels), "xref": "x", "yref": "y", "x": place, "y": 1, "sizex": 0.92, "sizey": 0.92,
         "sizing": "stretch", "layer": "above"}
        for place, pixels in enumerate(pictures)
    ]  # fmt: skip
    places = [place + 0.46 for place in range(len(names))]
    fig.add("scatter", x=places, y=[-0.02] * len(names), mode="text", text=names, hoverinfo="skip")
    return fig


def _png(pixels: np.ndarray) -> str:
    """Pixels (H, W, C) in 0..1 as a data URL."""
    values = np.asarray(np.clip(pixels, 0, 1) * 255, np.uint8)
    image = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)
    out = io.BytesIO()
    image.resize((PIXELS, PIXELS), Image.Resampling.NEAREST).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


@lru_cache(maxsize=64)
def toy_figure(change: str = "", factor: float = 2.0) -> Figure:
    """Output of the small network, unchanged or after a change, over both inputs."""
    toy = changed_toy(change, factor) if change else TOY
    outputs = toy(grid()).reshape(SIDE, SIDE)
    line = np.linspace(-1, 1, SIDE)
    fig = figure(
        f"Output of the network over its two inputs, between {outputs.min():.2f} and {outputs.max():.2f}.",
        height=300,
        x={"title": "input 1", "range": [-1, 1], "constrain": "domain"},
        y={"title": "input 2", "range": [-1, 1], "scaleanchor": "x", "constrain": "domain"},
    )
    fig.add(
        "heatmap",
        x=line,
        y=line,
        z=outputs,
        colorscale=SIMILARITY,
        zmin=-1.5,
        zmax=2.5,
        colorbar={"title": {"text": "output"}, "thickness": 10},
        hovertemplate="(%{x:.2f}, %{y:.2f}): %{z:.3f}<extra></extra>",
    )
    return fig


def _why(draw: Callable[[Any], Figure]) -> Callable[[Ledger, str, Values], Figure]:
    return lambda ledger, run, values: draw(finding_of(ledger, run, "why"))


def _landscape(ledger: Ledger, run: str, values: Values) -> Figure:
    return landscape_figure(finding_of(ledger, run, "landscape"), values.get("metric", "loss"))


def _cka(ledger: Ledger, run: str, values: Values) -> Figure:
    return lab_figure(finding_of(ledger, run, "lab"), values.get("change", "classes"))


def _match(ledger: Ledger, run: str, values: Values) -> Figure:
    return match_histogram(units_of_layer(ledger, run, values["layer"]))


FIGURES: dict[str, Callable[[Ledger, str, Values], Figure]] = {
    "curve": _curve,
    "scores": _scores,
    "similarity": _similarity,
    "layers": _layers,
    "variance": _why(lambda why: variance_figure(why, True)),
    "shares": _why(shares_figure),
    "landscape": _landscape,
    "cka": _cka,
    "match": _match,
    "match by layer": lambda ledger, run, values: match_quality_figure(read_merge(ledger, run).units),
    "sweep": _sweep,
    "pictures": _pictures,
    "toy": lambda ledger, run, values: toy_figure(values.get("change", "")),
}
