"""How alike the layers are: A, π(B) and the merge, layer by layer, and how far that can be trusted."""

from __future__ import annotations

import streamlit as st

from ui.panels.lab_panel import lab_panel
from ui.panels.measures_panel import measures_panel
from ui.panels.similarity_panel import similarity_panel
from ui.runs.states import needs_result

found = needs_result("similarity")
if found is not None and found.report is not None:
    st.markdown("### Which layers see the images alike?", anchors=False)
    if found.report.similarity:
        similarity_panel(found)
        st.markdown("#### By other measures", anchors=False)
        measures_panel(found)
        st.markdown("#### The manipulation lab", anchors=False)
        lab_panel(found)
    else:
        st.info(found.report.missing or "This run compared no layers.", icon=":material/image_not_supported:")
