"""Why page: the reasons why a merge works or fails."""

from __future__ import annotations

import streamlit as st

from ui.panels.study_panels import draw_study_panels
from ui.panels.why_panel import why_panel
from ui.runs.states import needs_result

SCREEN = {"title": "Why", "icon": ":material/psychology_alt:", "order": 80, "tab": "Why"}

run = needs_result("why")
if run is not None and run.report is not None:
    st.markdown("### Why does this merge work, or fail?", anchors=False)
    why_panel(run)
    draw_study_panels("why", run)
