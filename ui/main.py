"""The one script behind all pages: look, navigation, and our errors in words."""

from __future__ import annotations

import streamlit as st

from merging.paths import ASSETS
from ui.shell.guard import show_errors
from ui.shell.look import dress
from ui.shell.screens import SCREENS, screen
from ui.shell.state import ledger

chosen = st.navigation([screen(key) for key in SCREENS], position="top")
st.set_page_config(page_title=f"{chosen.title} · Mergescope", page_icon=str(ASSETS / "icon.svg"), layout="wide")
dress()
with show_errors():
    ledger()  # what is wrong with the folder of all runs is said once, in place of every page
    chosen.run()
