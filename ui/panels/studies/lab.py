"""Manipulation lab: how far CKA can be changed while the outputs of the network stay the same."""

from __future__ import annotations

from typing import Any

import streamlit as st

from merging.figures.studies.lab import lab_figure
from merging.studies.lab import Lab
from merging.text import numbers
from ui.panels.study_panels import StudyPanel
from ui.runs.study import studied
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw

KINDS = {"classes": "Shift some classes", "image": "Shift one image", "unit": "Scale one unit"}
USUAL = 5  # classes to shift by default
TEXT = {
    "classes": (
        "All images of the first {classes} classes are shifted together, along a direction that the classifier's "
        "weights ignore. Every output stays the same; CKA approaches a limit."
    ),
    "image": (
        "One image is shifted along a direction that the classifier's weights ignore. Every output stays the same, but "
        "CKA over {images} images collapses."
    ),
    "unit": (
        "Unit {unit} is multiplied by a factor, and the classifier's weights for it are divided by the same factor. "
        "The network computes the same function."
    ),
}


def lab_panel(found: Chosen) -> None:
    """Draw the menus for the network and the change, and the result."""
    st.markdown(
        "CKA compares representations, not functions. Here the features that enter the last linear layer are "
        "changed so that **every output stays exactly the same**, while the CKA of the original and the changed "
        "features falls (Davari et al. 2023)."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        net = st.segmented_control("Network", ["A", "B", "merge"], default="A", key="lab net", required=True)
        kind = st.segmented_control(
            "Change", list(KINDS), format_func=KINDS.__getitem__, default="classes", key="lab kind", required=True
        )
        st.session_state.setdefault("lab classes", USUAL)
        shared: dict[str, Any] = {"key": "lab classes", "width": 140, "persist_state": "session"}
        classes = int(st.number_input("Classes to shift", 1, 9, disabled=kind != "classes", **shared))
    lab: Lab | None = studied(found, "lab", {"net": net, "classes": classes}, button="Manipulate CKA")
    if lab is None:
        return
    st.markdown(TEXT[kind].format(classes=lab.classes, images=numbers.count(lab.images), unit=lab.unit))
    draw(kept(lab_figure, lab, kind), f"lab of {kind}", f"lab-{kind}", width="stretch")
    st.caption(
        f"Input of {lab.layer} of {lab.net}, {lab.features} features, {numbers.count(lab.images)} test images; "
        f"biased CKA; largest change of an output: {numbers.tiny(float(lab.moved[kind].max()))} of the largest one."
    )


PANEL = StudyPanel("lab", "The manipulation lab", 20, lab_panel)
