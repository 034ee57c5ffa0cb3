"""The four maps and their diagonals; a click on a cell opens what speaks for and against its value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st

from merging.figures.figure import Figure
from merging.figures.similarity import ORDER, TITLES, diagonal_figure, heatmap
from merging.methods.registry import find
from merging.results.reports import MergeReport, SimilarityMap
from merging.studies.similarity import WHY, Similarities
from merging.text import numbers
from ui.panels.reliability_panel import reliability_panel
from ui.runs.study import known
from ui.shell.address import said
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw, draw_clickable
from ui.shell.words import meaning

ORDER_UNSEEN = (
    "CKA does not see the order of units: re-ordering B changes nothing it measures, so A and B are exactly as alike "
    "as A and π(B). What re-ordering does change is the merge."
)
SAME = ("A-B", "A-pi(B)")  # to every measure, for none sees the order of units
MIXED = "Here B's units were mixed, not only re-ordered: π(B) may be more or less like A than B is."
CEILING = (
    "Where A and B are two seeds of one recipe, their line is what another seed alone makes of a layer: the measure "
    "for the lines of the merge."
)


def similarity_panel(found: Chosen) -> None:
    """Maps two by two, each in one size and scale, and under them the cell that was clicked last."""
    report = found.report
    if report is None:
        return
    maps = {key: report.similarity[key] for key in ORDER if key in report.similarity}
    looked_into = {key: _looked_into(found, key) for key in maps}
    looked = f"{how_measured(next(iter(maps.values())))} {_looked_where(looked_into)}"
    st.caption(looked, help=f"{meaning('CKA')} {meaning('debiased')}")
    keys, cell = list(maps), asked_cell(report)
    for pair in (keys[:2], keys[2:]):
        for column, key in zip(st.columns(2), pair, strict=False):
            with column.container(border=True):
                st.markdown(f"**{TITLES[key]}**")
                chosen = cell[1:] if cell is not None and cell[0] == key else None
                figure = kept(_map_figure, maps[key], TITLES[key], looked_into[key], chosen)
                draw_clickable(figure, f"map {key}", f"cka-{key}", partial(_open, key))
        if cell is not None and cell[0] in pair:
            reliability_panel(found, *cell, nearest_layer(report, cell[1]))
    with st.container(border=True):
        st.markdown("**Equal layers, over the depth of the network**")
        draw(kept(_diagonals, report), "diagonal", "cka-diagonal")
        st.caption(f"{ORDER_UNSEEN if _permutes(report) else MIXED} {CEILING}")


def _map_figure(
    map: SimilarityMap, title: str, measured: Similarities | None, chosen: tuple[str, str] | None
) -> Figure:
    return heatmap(map, title, doubts=None if measured is None else spelled(measured), chosen=chosen)


def _diagonals(report: MergeReport) -> Figure:
    return diagonal_figure(report.similarity)


def _looked_into(found: Chosen, pair: str) -> Similarities | None:
    """What was measured of a pair's map by all measures; None where nothing was yet."""
    alike = pair in SAME and found.report is not None and _permutes(found.report)
    for asked in SAME if alike else (pair,):
        measured: Similarities | None = known(found, "similarity", {"pair": asked})
        if measured is not None:
            return measured
    return None


def _permutes(report: MergeReport) -> bool:
    """Whether B's units were only re-ordered."""
    return find("align", report.request.get("align", "none")).permutes


def _looked_where(against: Mapping[str, object]) -> str:
    """In which maps cells not to be trusted were looked for."""
    checked = [TITLES[key] for key, found in against.items() if found is not None]
    if len(checked) == len(against):
        return "⚠ marks cells that are not to be trusted."
    if not checked:
        return "Cells that are not to be trusted get a ⚠ once all measures were taken (below)."
    return f"⚠ marks cells that are not to be trusted, so far in {'; '.join(checked)}; for the others, see below."


def spelled(measured: Similarities) -> list[list[str]]:
    """The reasons of `distrust` as sentences."""
    return [["; ".join(WHY[name] for name in cell.split(", ") if name) for cell in row] for row in measured.distrust]


def how_measured(map: SimilarityMap) -> str:
    """How the numbers came about, in one line: n, estimator, treatment."""
    treatment = "averaged over positions" if map.treatment == "pooled" else "position by position"
    return (
        f"Linear CKA, {map.estimator} estimator, n = {numbers.count(map.images)} test images, convolutions "
        f"{treatment}. Click a cell to see how far its value can be trusted."
    )


def asked_cell(report: MergeReport) -> tuple[str, str, str] | None:
    """(pair, row's layer, column's layer) that the address names, None where it names none of this run."""
    pair, row, column = map(said, ("pair", "row", "column"))
    names = {info.name for info in report.layers}
    return (pair, row, column) if pair in report.similarity and {row, column} <= names else None


def _open(pair: str, layers: Sequence[object]) -> None:
    """A click changes the address, so that the cell can be shared. layers: the row's and the column's."""
    for name, value in zip(("pair", "row", "column"), (pair, *map(str, layers[:2])), strict=True):
        st.query_params[name] = value


def nearest_layer(report: MergeReport, layer: str) -> str:
    """This layer if its units were measured, else the last one before it that was, else the first; "" without any."""
    measured = [units.layer for units in report.units]
    names = [info.name for info in report.layers]
    before = names[: names.index(layer) + 1] if layer in names else []
    return next((name for name in reversed(before) if name in measured), measured[0] if measured else "")
