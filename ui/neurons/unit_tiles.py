"""One unit's picture or the grey tile that says why there is none, and the images that excite it."""

from __future__ import annotations

import streamlit as st

from merging.results.reports import LayerUnits, MergeReport
from merging.text import numbers
from ui.neurons.pictures import Gallery
from ui.neurons.tiles import exemplar_sheet, show
from ui.neurons.units import SLOTS, Cell, strength
from ui.shell.kept import kept
from ui.shell.markdown import plain
from ui.shell.state import images, why_no_images


def tile(slot: str, cell: Cell, gallery: Gallery, key: str, name: str = "") -> None:
    """One picture with its label (`name`, or the slot's); a grey tile says why there is none."""
    name = name or (f"{SLOTS[slot]} {cell.unit}" if cell.source == "B" else SLOTS[slot])
    made = gallery.made.get((cell.source, cell.unit))
    if made is not None and not cell.dead:
        words, weak = strength(made[1], cell.peak)
        flag = " :orange[:material/warning:]" if weak else ""
        alt = f"Picture that excites unit {cell.unit} of {SLOTS[slot]}; response {words}"
        with st.container(key=f"tile {key}"):
            show(made[0], alt)
        st.caption(f"{name}  \n{words}{flag}")
        return
    waits = (cell.source, cell.unit) in gallery.waiting
    why = "dead unit: no picture can be trusted" if cell.dead else "making" if waits else "no picture"
    with st.container(key=f"blank {key}"):
        st.caption(why)
    st.caption(name)


def exemplars(layer: LayerUnits, network: str, unit: int, report: MergeReport, columns: int = 9, rows: int = 1) -> None:
    """The images to which a unit responds most; nothing where the images are not on this machine."""
    if not layer.images:
        st.caption("The images are not on this machine.")
        return
    dataset = report.request.get("dataset", "")
    known = images(dataset, "test", int(layer.exemplars.max()) + 1)
    if known is None or layer.dead[layer.models.index(network), unit]:
        st.caption("no image excites it" if known is not None else why_no_images(dataset))
        return
    sheet = kept(exemplar_sheet, layer, network, unit, known, columns, columns * rows)
    names = [known.classes[known.labels[number]] for number in layer.exemplars[layer.models.index(network), unit]]
    kinds = ", ".join(dict.fromkeys(names[: columns * rows]))
    show(sheet, f"Test images that excite unit {unit} of {SLOTS[network]} most: {kinds}")
    values = layer.exemplar_values[layer.models.index(network), unit, : columns * rows]
    st.caption(f"{plain(kinds)} · responses {values[0]:.3g} to {values[-1]:.3g}".replace("-", numbers.MINUS))
