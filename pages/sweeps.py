"""Sweeps page: train and merge networks over an axis, such as width, and see a measure over it fill in."""

from __future__ import annotations

import streamlit as st

from ui.forms.sweep_form import fill_form, sweep_form
from ui.panels.sweep_panel import chosen_sweep, no_sweep, sweep_panel
from ui.shell.guard import show_errors

SCREEN = {"title": "Sweeps", "icon": ":material/ssid_chart:", "order": 25, "menu": True}

st.markdown("### How does merging depend on width, training or data?", anchors=False)
job, sweep = chosen_sweep()
fill_form(sweep)
with st.container(key="screen" if sweep is not None else "sweep form"):  # on phones a result stands before the form
    left, right = st.columns([4, 9], gap="medium")
with left.container(border=True), show_errors():
    sweep_form(sweep)
with right, show_errors():
    if job is not None and sweep is not None:
        sweep_panel(job, sweep)
    else:
        no_sweep()
