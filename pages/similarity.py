"""Similarity page: the similarity of layers of A, B, π(B) and the merge, and how far it can be trusted."""

from __future__ import annotations

import streamlit as st

from ui.panels.similarity_panel import similarity_panel
from ui.panels.study_panels import draw_study_panels
from ui.runs.states import needs_result

SCREEN = {"title": "Similarity", "icon": ":material/grid_on:", "order": 60, "tab": "Similarity"}

run = needs_result("similarity")
if run is not None and run.report is not None:
    st.markdown("### How similar are the layers?", anchors=False)
    if run.report.similarity:
        similarity_panel(run)
        draw_study_panels("similarity", run)
    else:
        st.info(run.report.missing or "This run compared no layers.", icon=":material/image_not_supported:")
