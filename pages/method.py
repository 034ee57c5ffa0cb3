"""How a run was made: what the methods found and chose, the groups of units, the costs."""

from __future__ import annotations

import streamlit as st

from ui.panels.method_panel import method_panel
from ui.runs.states import needs_result

found = needs_result("method")
if found is not None and found.report is not None:
    st.markdown("### How was this merge made?", anchors=False)
    method_panel(found.report)
