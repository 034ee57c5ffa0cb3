"""Line that names the layer selected in a page's figures, with links to what else is known about it."""

from __future__ import annotations

import streamlit as st

from merging.figures.figure import find_layer
from merging.results.reports import MergeReport
from ui.shell.address import said
from ui.shell.chosen import Chosen
from ui.shell.markdown import plain
from ui.shell.screens import link

HINT = "Click a layer in any figure: all figures of this page mark it."


def layer_line(found: Chosen, suggested: str = "", why: str = "") -> None:
    """Show the selected layer with a link to its neurons and a button that ends the selection.

    Args:
        suggested: a layer to link to while none is selected, "" for none.
        why: what is remarkable about the suggested layer, such as "contributes most".
    """
    if found.report is None:
        return
    names = [info.name for info in found.report.layers]
    selected = said("layer") if find_layer(said("layer"), names) is not None else ""
    with st.container(horizontal=True, vertical_alignment="center", key="selected-layer"):
        if selected:
            st.markdown(f"Selected layer: **{plain(selected)}**", width="content")
        else:
            st.caption(HINT, width="content")
        units = nearest_layer(found.report, selected or suggested) if selected or suggested else ""
        if units:
            reason = f", which {why}" if why and not selected else ""
            label = f"Neurons of {units}{reason if units == suggested else ''}"
            link("neurons", label, run=found.short, layer=units, view="All units", icon=":material/blur_on:")
        if selected:
            st.button("Select no layer", key="no layer", icon=":material/close:", on_click=_clear)


def nearest_layer(report: MergeReport, layer: str) -> str:
    """Return `layer` if its units were measured, else the last measured one before it, else the first, or ""."""
    measured = [units.layer for units in report.units]
    names = [info.name for info in report.layers]
    place = find_layer(layer, names)
    before = [] if place is None else names[: place + 1]
    return next((name for name in reversed(before) if name in measured), measured[0] if measured else "")


def _clear() -> None:
    for name in ("layer", "pair", "row", "column"):  # on Similarity, a selected cell selects its layer
        st.query_params.pop(name, None)
