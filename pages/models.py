"""Models page: the networks that can be merged, forms that add networks, and the data sets."""

from __future__ import annotations

import streamlit as st

from ui.forms.images_form import images_form
from ui.forms.model_cards import SOURCES, chosen_pair, model_cards
from ui.forms.train_form import data_sets, train_form
from ui.forms.upload_form import upload_form
from ui.panels.own_images import own_images_panel
from ui.shell.state import entries

SCREEN = {"title": "Models", "icon": ":material/deployed_code:", "order": 30, "menu": True}

st.markdown("### Models", anchors=False)
with st.expander("Upload networks", icon=":material/upload:"):
    upload_form()
left, right = st.columns(2)
with left.expander("Train another seed", icon=":material/model_training:"):
    train_form()
with right.expander("Data sets", icon=":material/image:"):
    data_sets()
    st.divider()
    st.markdown("**Images of your own**")
    images_form()
own_images_panel()
networks = list(entries().values())
chosen_pair(networks)
for source, title in SOURCES.items():
    group = [entry for entry in networks if entry.source == source]
    if group:
        st.markdown(f"**{title}** :gray[{len(group)}]")
        model_cards(group)
