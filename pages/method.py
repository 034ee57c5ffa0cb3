"""Method page: what each method of a run did, which units are permuted together, and the time and memory used."""

from __future__ import annotations

import streamlit as st

from ui.panels.method_panel import method_panel
from ui.runs.states import needs_result

SCREEN = {"title": "Method", "icon": ":material/receipt_long:", "order": 100, "tab": "Method"}

run = needs_result("method")
if run is not None and run.report is not None:
    st.markdown("### How was this merge made?", anchors=False)
    method_panel(run.report)
