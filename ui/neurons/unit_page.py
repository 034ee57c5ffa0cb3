"""Page of one unit: large pictures, the images to which it responds most in each network, and its numbers."""

from __future__ import annotations

from functools import partial

import streamlit as st

from merging.jobs.requests.base import ModelRef
from merging.results.reports import LayerUnits, MergeReport
from merging.text import numbers
from ui.neurons.overview import SHEET
from ui.neurons.picture_rows import show_strips, show_tiles
from ui.neurons.pictures import Gallery, choose_way, look, say_state, watch_pictures
from ui.neurons.unit_study import fates, unit_study
from ui.neurons.unit_tiles import exemplars, unit_tile
from ui.neurons.units import SLOTS, Cell, cells, match_word, scale
from ui.shell.address import said, said_number
from ui.shell.chosen import Chosen
from ui.shell.markdown import plain
from ui.shell.screens import link
from ui.shell.words import meaning


def asked_unit(report: MergeReport) -> tuple[LayerUnits, int] | None:
    """The layer and unit in the address; None if this run has no such unit."""
    layer = next((candidate for candidate in report.units if candidate.layer == said("layer")), None)
    unit = said_number("unit", -1, 10**8, -1)
    return (layer, unit) if layer is not None and 0 <= unit < layer.units else None


def unit_page(layer: LayerUnits, unit: int, found: Chosen, models: dict[str, ModelRef]) -> None:
    """Show everything about one unit; the pictures refresh while they are being made."""
    report = found.report
    if report is None:
        return
    outcomes = ", ".join([match_word(layer, unit), *fates(found, layer.layer, [unit]).values()])
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"### Unit {unit} of {plain(layer.layer)}: {outcomes}", anchors=False, width="content")
        sheet = {SHEET: said(SHEET)} if said(SHEET) else {}
        back = ":material/arrow_back:"
        link("neurons", "All units of the layer", run=found.short, layer=layer.layer, icon=back, **sheet)
    way = choose_way()
    row_cells = cells(layer, unit)
    watch_pictures(
        partial(look, models, layer.layer, row_cells.values(), way=way),
        partial(_pictures, layer, row_cells, models, way),
    )
    if not layer.images:
        st.info(report.missing, icon=":material/image_not_supported:")
        return
    st.markdown(figures_table(layer, unit))
    st.caption("  \n".join(f"**{word}** – {meaning(word)}" for word in ("match correlation", "scale", "response")))
    st.markdown("**Images of the data set to which the unit responds most**", help=meaning("exemplars"))
    show_strips([(SLOTS[network], exemplars(layer, network, unit, report)) for network in layer.models])
    unit_study(found, layer.layer, unit)


def figures_table(layer: LayerUnits, unit: int) -> str:
    """The unit's numbers in every network, as a Markdown table."""
    lines = [
        f"Match correlation of A's unit {unit} and B's unit {int(layer.partner[unit])}: "
        f"**{numbers.correlation(float(layer.match[unit]))}** · scale in the merge "
        f"**{numbers.ratio(float(scale(layer)[unit]))}**",
        "",
        "| | spread (standard deviation) | best image, mean over positions | best image, strongest position | dead |",
        "|---|---:|---:|---:|---|",
    ]
    for row, network in enumerate(layer.models):
        values = (layer.std[row, unit], layer.peak[row, unit], layer.exemplar_values[row, unit, 0])
        columns = " | ".join(f"{float(value):.2f}".replace("-", numbers.MINUS) for value in values)
        lines.append(f"| {SLOTS[network]} | {columns} | {'yes' if layer.dead[row, unit] else 'no'} |")
    return "\n".join(lines)


def _pictures(
    layer: LayerUnits, shown: dict[str, Cell], models: dict[str, ModelRef], way: str, gallery: Gallery
) -> None:
    show_tiles([unit_tile(slot, cell, gallery) for slot, cell in shown.items()])
    say_state(gallery, models, layer, way)
