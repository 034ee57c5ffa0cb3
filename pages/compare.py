"""Compare page: a grid of merges that shows which method works on these networks, updated while the merges run."""

from __future__ import annotations

import streamlit as st

from ui.forms.compare_form import compare_form, fill_from_address
from ui.panels.compare_panel import comparison
from ui.shell.guard import show_errors

SCREEN = {"title": "Compare", "icon": ":material/leaderboard:", "order": 20, "menu": True}

fill_from_address()
st.markdown("### Which method works on these networks?", anchors=False)
left, right = st.columns([4, 9], gap="medium")
with left.container(border=True), show_errors():
    compare_form()
with right, show_errors():
    comparison()
