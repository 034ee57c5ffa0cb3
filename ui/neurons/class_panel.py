"""Classes view of the Neurons page: pictures of the class logits of every network."""

from __future__ import annotations

from functools import partial

import streamlit as st

from merging.jobs.requests.base import ModelRef
from merging.results.reports import MergeReport
from merging.zoo.datasets.known import find_facts
from ui.neurons.picture_rows import show_tiles
from ui.neurons.pictures import Gallery, look, watch_pictures
from ui.neurons.unit_tiles import unit_tile
from ui.neurons.units import Cell
from ui.shell.markdown import plain

NETS = {"A": "A", "B": "B", "merge": "merge", "naive": "naive"}
MOST = 20  # displayed classes


def class_panel(report: MergeReport, models: dict[str, ModelRef], way: str) -> None:
    """Show one row per class; the rows refresh while pictures are being made."""
    logits = next((layer for layer in reversed(report.layers) if layer.kind in ("linear", "conv")), None)
    if logits is None:
        st.info("This network has no linear or convolutional layer whose units are classes.", icon=":material/info:")
        return
    dataset = report.request.get("dataset", "")
    facts = find_facts(dataset)
    class_names = facts.classes if facts is not None else ()
    names = [
        class_names[unit] if unit < len(class_names) else f"class {unit}" for unit in range(min(logits.units, MOST))
    ]
    st.markdown(
        "Each row shows one class: its pictures maximise the networks' logits of this class (layer "
        f"{plain(logits.name)}). "
        "Classes need no re-ordering: unit i of the last layer is class i in every network."
    )
    nets = [net for net in NETS if net in models]
    wishes = [Cell(net, unit, False) for net in nets for unit in range(len(names))]
    watch_pictures(partial(look, models, logits.name, wishes, way=way), partial(_rows, nets, names))


def _rows(nets: list[str], names: list[str], gallery: Gallery) -> None:
    if gallery.refused:
        st.warning(plain(gallery.refused), icon=":material/info:")
    for unit, name in enumerate(names):
        with st.container(key=f"unitrow class {unit}"):
            left, right, _ = st.columns([2, 2 * len(nets), 2 * (len(NETS) - len(nets)) + 1])
            left.markdown(f"**{plain(name)}**")
            with right:
                cells = {net: Cell(net, unit, False) for net in nets}
                show_tiles([unit_tile(net, cell, gallery, NETS[net]) for net, cell in cells.items()])
