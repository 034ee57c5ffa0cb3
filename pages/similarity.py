"""How alike the layers are: A, π(B) and the merge, layer by layer."""

from __future__ import annotations

import streamlit as st

from ui.similarity_panel import similarity_panel
from ui.states import needs_result

found = needs_result("similarity")
if found is not None and found.report is not None:
    st.markdown("### Which layers see the images alike?", anchors=False)
    if found.report.similarity:
        similarity_panel(found.report, found.short)
    else:
        st.info(found.report.missing or "This run compared no layers.", icon=":material/image_not_supported:")
