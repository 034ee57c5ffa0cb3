"""Neurons page: each unit in A, its partner in B, in the merge and in the naive average."""

from __future__ import annotations

import streamlit as st

from ui.neurons.neuron_panel import neuron_panel
from ui.neurons.overview import follow_click
from ui.neurons.pictures import networks
from ui.neurons.unit_page import asked_unit, unit_page
from ui.runs.downloads import lacks_networks, make_here
from ui.runs.states import needs_result
from ui.shell.chosen import request_of

SCREEN = {"title": "Neurons", "icon": ":material/blur_on:", "order": 70, "tab": "Neurons"}

follow_click()
run = needs_result("neurons")
if run is not None and run.job is not None and run.report is not None:
    models = networks(run.job, request_of(run.job))
    unit = asked_unit(run.report)
    if run.report.units and lacks_networks(run.job):
        make_here(run.job, "pictures here")
    if not run.report.units:
        st.info(run.report.missing or "This run measured no units.", icon=":material/image_not_supported:")
    elif unit is not None:
        unit_page(*unit, run, models)
    else:
        st.markdown("### What became of each unit?", anchors=False)
        neuron_panel(run, models)
