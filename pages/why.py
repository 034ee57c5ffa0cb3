"""Why this merge works, or fails."""

from __future__ import annotations

import streamlit as st

from ui.panels.why_panel import why_panel
from ui.runs.states import needs_result

found = needs_result("why")
if found is not None and found.report is not None:
    st.markdown("### Why does this merge work, or fail?", anchors=False)
    why_panel(found)
