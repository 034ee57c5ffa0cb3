"""Glossary page: every technical term in one or two sentences, with the same text as in the tooltips."""

from __future__ import annotations

import streamlit as st

from merging.methods.registry import ROLES, table
from ui.shell.words import WORDS

SCREEN = {"title": "Glossary", "icon": ":material/menu_book:", "order": 50, "menu": True}

st.markdown("### Glossary", anchors=False)
query = st.text_input("Find a word", placeholder="barrier", icon=":material/search:", width=420).strip().lower()
METHODS = {method.label: method.summary for role in ROLES for method in table(role).values() if method.key != "none"}
matches = {word: text for word, text in {**WORDS, **METHODS}.items() if query in f"{word} {text}".lower()}
for word, text in matches.items():
    st.markdown(f"**{word}**  \n{text}")
if not matches:
    st.info("No entry matches. Try a shorter word.", icon=":material/search_off:")
