"""Side-by-side page: two to six finished merges, named in the address or selected on the page Runs."""

from __future__ import annotations

import streamlit as st

from ui.panels.side_panel import LEAST, asked_runs, show_runs
from ui.shell.guard import show_errors
from ui.shell.screens import link

SCREEN = {"title": "Side by side", "icon": ":material/view_week:", "order": 45}

st.markdown("### Runs side by side", anchors=False)
with show_errors():
    runs = asked_runs()
    if len(runs) >= LEAST:
        show_runs(runs)
    else:
        st.info("Select two to six finished merges on the page Runs.", icon=":material/view_week:")
        link("jobs", "Go to Runs", icon=":material/list_alt:")
