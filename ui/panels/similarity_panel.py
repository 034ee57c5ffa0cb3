"""The four CKA maps and their diagonals; a click on a cell examines how far its value can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from merging.figures.figure import Figure
from merging.figures.similarity import ORDER, TITLES, diagonal_figure, heatmap
from merging.methods.registry import find
from merging.results.reports import MergeReport, SimilarityMap
from merging.studies.similarity import WHY, Similarities
from merging.text import numbers
from ui.panels.layer_line import layer_line, nearest_layer
from ui.panels.reliability_panel import reliability_panel
from ui.runs.study import known
from ui.shell.address import said
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw_clickable, draw_layers, with_selection
from ui.shell.words import meaning

ORDER_UNSEEN = (
    "CKA ignores the order of units, so A and B are exactly as similar as A and π(B). Re-ordering affects CKA "
    "only through the merge."
)
SAME = ("A-B", "A-pi(B)")  # equal by every measure, because all of them ignore the order of units
MIXED = "Here B's units were mixed, not only re-ordered: π(B) may be more or less similar to A than B is."
CEILING = (
    "If A and B differ only in their seed, the curve of A and B shows how much another seed changes each layer. The "
    "merge's curves are to be compared with this change."
)


def similarity_panel(found: Chosen) -> None:
    """Draw the maps in pairs of equal size and scale, and the study of the last clicked cell below its pair."""
    report = found.report
    if report is None:
        return
    maps = {key: report.similarity[key] for key in ORDER if key in report.similarity}
    by_measures = {key: _looked_into(found, key) for key in maps}
    note = f"{how_measured(next(iter(maps.values())))} {_looked_where(by_measures)}"
    st.caption(note, help=f"{meaning('CKA')} {meaning('debiased')}")
    layer_line(found)
    keys, cell = list(maps), asked_cell(report)
    for pair in (keys[:2], keys[2:]):
        for column, key in zip(st.columns(2), pair, strict=False):
            with column.container(border=True):
                st.markdown(f"**{TITLES[key]}**")
                layers = cell[1:] if cell is not None and cell[0] == key else None
                figure = kept(_map_figure, maps[key], TITLES[key], by_measures[key], layers)
                draw_clickable(with_selection(figure), f"map {key}", f"cka-{key}", partial(_open, key), saved=figure)
        if cell is not None and cell[0] in pair:
            reliability_panel(found, *cell, nearest_layer(report, cell[1]))
    with st.container(border=True):
        st.markdown("**Corresponding layers, over the depth of the network**")
        draw_layers(kept(_diagonals, report), "diagonal", "cka-diagonal")
        st.caption(f"{ORDER_UNSEEN if _permutes(report) else MIXED} {CEILING}")


def _map_figure(
    map: SimilarityMap, title: str, measured: Similarities | None, chosen: tuple[str, str] | None
) -> Figure:
    return heatmap(map, title, doubts=None if measured is None else spelled(measured), chosen=chosen)


def _diagonals(report: MergeReport) -> Figure:
    return diagonal_figure(report.similarity)


def _looked_into(found: Chosen, pair: str) -> Similarities | None:
    """Return the similarities of a pair by all measures; None if they have not been computed yet."""
    interchangeable = pair in SAME and found.report is not None and _permutes(found.report)
    for key in SAME if interchangeable else (pair,):
        measured: Similarities | None = known(found, "similarity", {"pair": key})
        if measured is not None:
            return measured
    return None


def _permutes(report: MergeReport) -> bool:
    """Whether B's units were only re-ordered."""
    return find("align", report.request.get("align", "none")).permutes


def _looked_where(against: Mapping[str, object]) -> str:
    """Say in which maps untrustworthy cells are marked."""
    checked = [TITLES[key] for key, measured in against.items() if measured is not None]
    if len(checked) == len(against):
        return "⚠ marks cells that are not to be trusted."
    if not checked:
        return "Once all measures have been computed (below), ⚠ marks cells that are not to be trusted."
    return (
        "⚠ marks cells that are not to be trusted. Checked so far: "
        f"{', '.join(f'“{title}”' for title in checked)}; the other maps can be checked below."
    )


def spelled(measured: Similarities) -> list[list[str]]:
    """Return the reasons of `distrust` as sentences, (rows, columns)."""
    return [["; ".join(WHY[name] for name in cell.split(", ") if name) for cell in row] for row in measured.distrust]


def how_measured(map: SimilarityMap) -> str:
    """Describe the measurement in one line: estimator, number of images, treatment of convolutions."""
    treatment = "averaged over positions" if map.treatment == "pooled" else "position by position"
    return (
        f"Linear CKA, {map.estimator} estimator, n = {numbers.count(map.images)} test images, convolutions "
        f"{treatment}. Click a cell to see how far its value can be trusted."
    )


def asked_cell(report: MergeReport) -> tuple[str, str, str] | None:
    """Return the (pair, row's layer, column's layer) in the address; None unless all are part of this run."""
    pair, row, column = map(said, ("pair", "row", "column"))
    names = {info.name for info in report.layers}
    return (pair, row, column) if pair in report.similarity and {row, column} <= names else None


def _open(pair: str, point: Mapping[str, Any]) -> None:
    """Write a clicked cell and its row's layer into the address, so that it can be shared."""
    row, column = map(str, point["customdata"][:2])
    for name, value in {"pair": pair, "row": row, "column": column, "layer": row}.items():
        st.query_params[name] = value
