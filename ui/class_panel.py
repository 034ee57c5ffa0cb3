"""What each network takes a class to be: pictures of the class logits."""

from __future__ import annotations

import numpy as np
import streamlit as st

from merging.results import MergeReport
from merging.work.request import ModelRef
from merging.zoo.datasets.known import find_facts
from ui.guard import in_words
from ui.pictures import look
from ui.shell.markdown import plain
from ui.unit_rows import EVERY
from ui.unit_tiles import tile
from ui.units import Cell

NETS = {"A": "A", "B": "B", "merge": "merge", "naive": "naive"}
MOST = 20  # classes shown
OPEN = "classes were open"


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
    waiting = look(models, logits.name, _cells(models, len(names)), way=way).waiting
    st.fragment(_rows, run_every=EVERY if waiting else None)(models, logits.name, names, way)


def _cells(models: dict[str, ModelRef], count: int) -> list[Cell]:
    return [Cell(net, unit, False, float(np.nan)) for net in NETS if net in models for unit in range(count)]


def _rows(models: dict[str, ModelRef], layer: str, names: list[str], way: str) -> None:
    with in_words():
        gallery = look(models, layer, _cells(models, len(names)), way=way)
        if gallery.refused:
            st.warning(plain(gallery.refused), icon=":material/info:")
        for unit, name in enumerate(names):
            with st.container(key=f"unitrow class {unit}"):
                first, *tiles = st.columns([2, *([2] * len(NETS))])
                first.markdown(f"**{plain(name)}**")
                for column, net in zip(tiles, [net for net in NETS if net in models], strict=False):
                    with column:
                        tile(net, Cell(net, unit, False, float(np.nan)), gallery, f"class {unit} {net}", NETS[net])
        was, st.session_state[OPEN] = st.session_state.get(OPEN), bool(gallery.waiting)
        if was and not gallery.waiting:
            st.rerun(scope="app")
