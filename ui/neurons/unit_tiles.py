"""Tile of one unit (its picture, or the reason why there is none), and the images to which it responds most."""

from __future__ import annotations

import streamlit as st

from merging.results.reports import LayerUnits, MergeReport
from merging.text import numbers
from ui.neurons.pictures import Gallery
from ui.neurons.tiles import exemplar_sheet, show_picture
from ui.neurons.units import SLOTS, Cell, strength
from ui.shell.kept import kept
from ui.shell.markdown import plain
from ui.shell.state import images, why_no_images


def tile(slot: str, cell: Cell, gallery: Gallery, key: str, name: str = "") -> None:
    """Show one picture with its label (`name`, or the position's); a grey tile gives the reason where there is none."""
    name = name or (f"{SLOTS[slot]} {cell.unit}" if cell.source == "B" else SLOTS[slot])
    picture = gallery.made.get((cell.source, cell.unit))
    if picture is not None and not cell.dead:
        words, weak = strength(picture[1], cell.peak)
        flag = " :orange[:material/warning:]" if weak else ""
        alt = f"Picture that excites unit {cell.unit} of {SLOTS[slot]}; response {words}"
        with st.container(key=f"tile {key}"):
            show_picture(picture[0], alt)
        st.caption(f"{name}  \n{words}{flag}")
        return
    waits = (cell.source, cell.unit) in gallery.waiting
    why = "dead unit: no meaningful picture" if cell.dead else "being made" if waits else "no picture"
    with st.container(key=f"blank {key}"):
        st.caption(why)
    st.caption(name)


def exemplars(layer: LayerUnits, network: str, unit: int, report: MergeReport, columns: int = 9, rows: int = 1) -> None:
    """Show the images to which a unit responds most, or a caption with the reason why they cannot be shown."""
    if not layer.images:
        st.caption("The images are not on this machine.")
        return
    dataset = report.request.get("dataset", "")
    image_set = images(dataset, "test", int(layer.exemplars.max()) + 1)
    if image_set is None or layer.dead[layer.models.index(network), unit]:
        st.caption("It responds to no image." if image_set is not None else why_no_images(dataset))
        return
    sheet = kept(exemplar_sheet, layer, network, unit, image_set, columns, columns * rows)
    names = [
        image_set.classes[image_set.labels[number]] for number in layer.exemplars[layer.models.index(network), unit]
    ]
    kinds = ", ".join(dict.fromkeys(names[: columns * rows]))
    show_picture(sheet, f"Test images that excite unit {unit} of {SLOTS[network]} most: {kinds}")
    values = layer.exemplar_values[layer.models.index(network), unit, : columns * rows]
    st.caption(f"{plain(kinds)} · responses {values[0]:.3g} to {values[-1]:.3g}".replace("-", numbers.MINUS))
