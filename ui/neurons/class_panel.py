"""What each network takes a class to be: pictures of the class logits."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from merging.jobs.requests.base import ModelRef
from merging.results.reports import MergeReport
from merging.zoo.datasets.known import find_facts
from ui.neurons.pictures import Gallery, look, watch
from ui.neurons.unit_tiles import tile
from ui.neurons.units import Cell
from ui.shell.markdown import plain

NETS = {"A": "A", "B": "B", "merge": "merge", "naive": "naive"}
MOST = 20  # classes shown


def class_panel(report: MergeReport, models: dict[str, ModelRef], way: str) -> None:
    """One row a class; looks again while pictures are made."""
    logits = next((layer for layer in reversed(report.layers) if layer.kind in ("linear", "conv")), None)
    if logits is None:
        st.info("This network has no last layer whose units are classes.", icon=":material/info:")
        return
    dataset = report.request.get("dataset", "")
    facts = find_facts(dataset)
    known = facts.classes if facts is not None else ()
    names = [known[unit] if unit < len(known) else f"class {unit}" for unit in range(min(logits.units, MOST))]
    st.markdown(
        f"Each picture was made so that the network answers with this class as strongly as possible ({logits.name}). "
        "Classes need no re-ordering: unit i of the last layer is class i in every network."
    )
    nets = [net for net in NETS if net in models]
    asked = [Cell(net, unit, False, float(np.nan)) for net in nets for unit in range(len(names))]
    watch(partial(look, models, logits.name, asked, way=way), partial(_rows, nets, names))


def _rows(nets: list[str], names: list[str], gallery: Gallery) -> None:
    if gallery.refused:
        st.warning(plain(gallery.refused), icon=":material/info:")
    for unit, name in enumerate(names):
        with st.container(key=f"unitrow class {unit}"):
            first, *tiles = st.columns([2, *([2] * len(NETS))])
            first.markdown(f"**{plain(name)}**")
            for column, net in zip(tiles, nets, strict=False):
                with column:
                    tile(net, Cell(net, unit, False, float(np.nan)), gallery, f"class {unit} {net}", NETS[net])
