"""The networks one can merge: what comes along, what people brought, and how to add one."""

from __future__ import annotations

import streamlit as st

from ui.model_cards import SOURCES, model_cards
from ui.state import entries
from ui.train_form import data_sets, train_form
from ui.upload_form import upload_form

st.markdown("### Models", anchors=False)
left, middle, right = st.columns(3)
with left.expander("Upload a checkpoint", icon=":material/upload:"):
    upload_form()
with middle.expander("Train another seed", icon=":material/model_training:"):
    train_form()
with right.expander("Data sets", icon=":material/image:"):
    data_sets()
known = list(entries().values())
for source, title in SOURCES.items():
    chosen = [entry for entry in known if entry.source == source]
    if chosen:
        st.markdown(f"**{title}** :gray[{len(chosen)}]")
        model_cards(chosen)
