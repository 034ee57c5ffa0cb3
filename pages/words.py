"""Every technical word in one sentence, the same as in the hovers."""

from __future__ import annotations

import streamlit as st

from merging.methods.registry import ROLES, table
from ui.shell.words import WORDS

st.markdown("### The words on these pages", anchors=False)
wanted = st.text_input("Find a word", placeholder="barrier", icon=":material/search:", width=420).strip().lower()
METHODS = {method.label: method.summary for role in ROLES for method in table(role).values() if method.key != "none"}
shown = {word: text for word, text in {**WORDS, **METHODS}.items() if wanted in f"{word} {text}".lower()}
for word, text in shown.items():
    st.markdown(f"**{word}**  \n{text}")
if not shown:
    st.info("No word here says that. Try a shorter one.", icon=":material/search_off:")
