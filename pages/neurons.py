"""What each unit became: in A, in B where it was matched, in the merge and in the naive average."""

from __future__ import annotations

import streamlit as st

from ui.neurons.neuron_panel import neuron_panel
from ui.neurons.overview import follow_click
from ui.neurons.pictures import networks
from ui.neurons.unit_page import asked_unit, unit_page
from ui.runs.downloads import lacks_networks, make_here
from ui.runs.states import needs_result
from ui.shell.chosen import request_of

follow_click()
found = needs_result("neurons")
if found is not None and found.job is not None and found.report is not None:
    models = networks(found.job, request_of(found.job))
    asked = asked_unit(found.report)
    if found.report.units and lacks_networks(found.job):
        make_here(found.job, "pictures here")
    if not found.report.units:
        st.info(found.report.missing or "This run measured no units.", icon=":material/image_not_supported:")
    elif asked is not None:
        unit_page(*asked, found, models)
    else:
        st.markdown("### What became of each unit?", anchors=False)
        neuron_panel(found, models)
