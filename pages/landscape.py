"""Landscape page: loss and accuracy on the plane in weight space through A, B and pi(B)."""

from __future__ import annotations

import streamlit as st

from ui.panels.landscape_panel import landscape_panel
from ui.panels.study_panels import draw_study_panels
from ui.runs.states import needs_result

SCREEN = {"title": "Landscape", "icon": ":material/landscape:", "order": 90, "tab": "Landscape"}

run = needs_result("landscape")
if run is not None and run.report is not None:
    st.markdown("### What lies between and around the networks?", anchors=False)
    landscape_panel(run)
    draw_study_panels("landscape", run)
