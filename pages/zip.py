"""Partial zip page: networks of different classes share a trunk up to a layer, and each keeps its own head."""

from __future__ import annotations

import streamlit as st

from ui.forms.zip_form import zip_form
from ui.panels.zip_panel import zip_result
from ui.shell.guard import show_errors

SCREEN = {"title": "Partial zip", "icon": ":material/call_split:", "order": 110}

st.markdown("### How much can networks of different classes share?", anchors=False)
left, right = st.columns([4, 9], gap="medium")
with left.container(border=True), show_errors():
    zip_form()
with right, show_errors():
    zip_result()
