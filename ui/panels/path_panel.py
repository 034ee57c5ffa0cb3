"""One point of the path from A to B: a slider moves the networks, and everything measured there moves with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st

from merging.figures.curve import Above, curve_label, curves_of
from merging.figures.path_point import marked_curve, variance_at
from merging.results.reports import MergeReport, Metric, PathPoints
from merging.studies.film import Film
from merging.text import numbers
from merging.zoo.datasets.load import ImageSet
from ui.neurons.picture_rows import Tile, show_strips, show_tiles
from ui.neurons.tiles import png
from ui.neurons.unit_study import units_at
from ui.neurons.units import first_layer
from ui.runs.study import known
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw, draw_layers
from ui.shell.markdown import plain
from ui.shell.screens import link
from ui.shell.state import images, why_no_images
from ui.shell.words import meaning

ROW = 5  # images side by side
FINE = 101  # most points that two digits tell apart
MOVE = (
    "Move it with the mouse or the arrow keys: the numbers, predictions, variances and pictures below are those of the "
    "network at this point of the path."
)


@st.fragment
def path_with_points(
    report: MergeReport, view: tuple[Metric, str, Above], found: Chosen | None, key: str, say: Callable[[], None]
) -> None:
    """Draw the curves, a slider for lambda, the verdict, and what the networks at this point do.

    view: metric, split and reference of the barrier.  say: writes the verdict.
    """
    metric, split, above = view
    curves = curves_of(report, split)
    lambdas = next(iter(curves.values())).lambdas
    chart = st.container()
    names = [f"{value:.{2 if len(lambdas) <= FINE else 3}f}" for value in lambdas]
    middle = names[len(names) // 2]
    bind: Any = None if key else "query-params"  # the address of a page with one result names the point
    at = st.select_slider("λ: share of B in the weights", names, middle, key=f"lambda{key}", help=MOVE, bind=bind)
    place = names.index(at)
    with chart:
        figure = kept(marked_curve, report, metric, split, above, float(lambdas[place]))
        draw(figure, f"curve{key}", f"{metric}-{split}", width="stretch")
    st.markdown(point_table(report, split, place), width="stretch")
    say()
    if report.points is None or not len(report.points.images):
        return
    with st.expander(f"The networks at λ = {names[place]}: predictions, variances, pictures", expanded=True):
        st.markdown("**What do they predict?**", help=meaning("ten images"))
        tiles = _predictions(report, report.points, place)
        for first in range(0, len(tiles), ROW):
            show_tiles(tiles[first : first + ROW])
        st.markdown("**Do their activations shrink?**", help=meaning("variance collapse"))
        draw_layers(kept(variance_at, report, place), f"variance at{key}", "variance-at-lambda")
        st.caption(f"Measured on {report.points.count} test images.")
        if found is not None:
            _pictures(report, found, float(lambdas[place]))


def point_table(report: MergeReport, split: str, place: int) -> str:
    """Loss, accuracy and calibration error of every curve at one of its points, as a Markdown table."""
    curves = curves_of(report, split)
    lambdas = next(iter(curves.values())).lambdas
    at = f"{lambdas[place]:.{2 if len(lambdas) <= 101 else 3}f}"
    lines = [f"| at λ = {at} | loss | accuracy | calibration error |", "|---|---:|---:|---:|"]
    for kind, curve in curves.items():
        values = (float(curve.loss[place]), float(curve.accuracy[place]), float(curve.ece[place]))
        loss, accuracy, error = values
        cells = (numbers.loss(loss), numbers.accuracy(accuracy), numbers.accuracy(error))
        lines.append(f"| {curve_label(report, kind)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _predictions(report: MergeReport, points: PathPoints, place: int) -> list[Tile]:
    """One tile per chosen image: its class, and what the network of every path takes it for."""
    dataset = report.request.get("dataset", "")
    shown = images(dataset, "test", int(points.images.max()) + 1)
    return [_tile(report, points, place, row, shown) for row in range(len(points.images))]


def _tile(report: MergeReport, points: PathPoints, place: int, row: int, shown: ImageSet | None) -> Tile:
    classes = shown.classes if shown is not None else ()
    number, label = int(points.images[row]), int(points.labels[row])
    lines = [_class(classes, label)]
    for path, guesses in points.guess.items():
        guess, sure = int(guesses[place, row, 0]), float(points.probability[path][place, row, 0])
        mark = "✓" if guess == label else "✗"
        lines.append(f"{mark} {curve_label(report, path)}: {_class(classes, guess)} {numbers.accuracy(sure)}")
    if shown is None:
        return Tile(tuple(lines), alt=why_no_images(report.request.get("dataset", "")))
    return Tile(tuple(lines), kept(_png, shown, number), f"Test image {number}, {lines[0]}")


def _png(shown: ImageSet, number: int) -> bytes:
    return png(np.moveaxis(shown.images[number], 0, -1).astype(np.float32) / 255)


def _class(classes: tuple[str, ...], number: int) -> str:
    return classes[number] if number < len(classes) else f"class {number}"


def _pictures(report: MergeReport, found: Chosen, at: float) -> None:
    """Pictures of sixteen units at this point, if the study of their film was run; else a link to where it is made."""
    st.markdown("**What do their units respond to?**", help=meaning("picture of a unit"))
    layers = [layer.layer for layer in report.units]
    if not layers:
        return
    layer = layers[first_layer(report.units)]
    film: Film | None = known(found, "film", {"layer": layer})
    if film is None:
        link("neurons", f"Make pictures of {layer} along the path", run=found.short, layer=layer, unit="0")
        return
    nearest = int(np.abs(film.lambdas - at).argmin())
    show_strips(
        [
            (curve_label(report, line), Tile((), kept(units_at, film, line, nearest), f"Units of {layer}", wide=True))
            for line in film.pictures
        ]
    )
    st.caption(
        f"Units {film.units[0]} to {film.units[-1]} of {plain(layer)} at λ = {film.lambdas[nearest]:.2f}, uncorrected."
    )
