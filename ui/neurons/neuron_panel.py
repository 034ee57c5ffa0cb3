"""Neurons page: choice of view, layer and order, then the rows of one page of units."""

from __future__ import annotations

import streamlit as st

from merging.figures.units import match_histogram
from merging.jobs.requests.base import ModelRef
from merging.results.reports import LayerUnits, MergeReport
from merging.studies.layer import LayerStudy
from ui.neurons.class_panel import class_panel
from ui.neurons.evidence_panel import evidence_panel
from ui.neurons.game_panel import game_panel
from ui.neurons.overview import SHEET, overview
from ui.neurons.pictures import choose_way
from ui.neurons.unit_rows import View, rows
from ui.neurons.unit_study import fates
from ui.neurons.units import SHOWN, SLOTS, SORTS, first_layer, ordered, page_of, pages
from ui.runs.study import studied
from ui.shell.address import one_of, said
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw
from ui.shell.markdown import plain
from ui.shell.words import meaning

VIEWS = {
    "sheets": "All units",
    "rows": "Unit by unit",
    "classes": "Classes",
    "evidence": "Does it hold?",
    "game": "Which is it?",
}


def neuron_panel(found: Chosen, models: dict[str, ModelRef]) -> None:
    """Show the controls, then the selected view, which refreshes every second while pictures are being made."""
    report, run = found.report, found.short
    if report is None:
        return
    view = one_of(
        "View",
        list(VIEWS),
        default="sheets",
        key="view",
        format_func=VIEWS.__getitem__,
        label_visibility="collapsed",
    )
    if view == "evidence":
        return evidence_panel(found)
    if view == "classes":
        return class_panel(report, models, choose_way())
    layer = choose_layer(report)
    if view == "game":
        return game_panel(layer, models, found, choose_way())
    with st.container(horizontal=True, vertical_alignment="bottom"):
        help = f"{meaning('match correlation')} {meaning('scale')}"
        sort = st.selectbox("Sort by", SORTS, key="sort", help=help, width=180, bind="query-params")
        way = choose_way()
        shown = one_of("Show", SHOWN, default="all", key="show")
        _ask_unit(layer)
    change = None
    if sort == "most changed":
        study: LayerStudy | None = studied(found, "layer", {"layer": layer.layer}, button="Measure this layer's units")
        if study is None:
            return
        change = study.change()
    units = ordered(layer, sort, shown, change)
    if not units:
        st.info(f"No unit of {plain(layer.layer)} is {shown}.", icon=":material/check_circle:")
        return
    if view == "sheets":
        return overview(layer, models, units, way)
    number = st.pagination(pages(units), key=f"page {layer.layer} {sort} {shown}") if pages(units) > 1 else 1
    now, after = page_of(units, number)
    rows(View(layer, models, report, run, now, after, way, fates(found, layer.layer, now)))


def choose_layer(report: MergeReport) -> LayerUnits:
    """Show the layer menu, with a histogram of the layer's match correlations beside it; return the layer."""
    by_name = {layer.layer: layer for layer in report.units}
    left, right = st.columns([2, 5], vertical_alignment="top")
    with left:
        layer = by_name[_asked_layer(report)]
        positions = "×".join(map(str, layer.positions))
        st.caption(f"{layer.kind}, {layer.units} units" + (f", {positions} positions" if positions else ""))
        if not layer.images:
            st.info(report.missing, icon=":material/image_not_supported:")
            return layer
        dead = ", ".join(
            f"{int(row.sum())} in {SLOTS[name]}" for name, row in zip(layer.models, layer.dead, strict=True)
        )
        st.caption(f"Dead units: {dead}.", help=meaning("dead unit"))
    with right:
        draw(kept(match_histogram, layer), f"histogram {layer.layer}", f"match-{layer.layer}")
    return layer


def _ask_unit(layer: LayerUnits) -> None:
    """Show a box for a unit's number, which opens the unit's page."""
    hint = f"0 to {layer.units - 1}"
    unit = st.number_input(
        "Open unit",
        0,
        layer.units - 1,
        None,
        key=f"open {layer.layer}",
        placeholder=hint,
        width=130,
        help="Enter opens it.",
    )
    if unit is not None:
        st.query_params["layer"], st.query_params["unit"] = layer.layer, str(unit)
        st.rerun()


def _asked_layer(report: MergeReport) -> str:
    """Show the layer menu and return the name of the selected layer.

    The menu is not bound to the address, because a click on a contact sheet also sets the address's layer, and
    Streamlit does not let a program set a bound parameter.
    """
    names = [layer.layer for layer in report.units]
    current = said("layer")
    current = current if current in names else names[first_layer(report.units)]
    selected = st.selectbox("Layer", names, names.index(current), key=f"layer {current}")
    if selected != current:
        st.query_params["layer"] = selected
        st.query_params.pop(SHEET, None)  # the page of another layer
        st.rerun()
    return selected
