"""The script that runs every page: style sheet, navigation, and display of Mergescope's own errors."""

from __future__ import annotations

import streamlit as st

from merging.paths import ASSETS
from ui.shell.figures import save_figures
from ui.shell.guard import show_errors
from ui.shell.look import dress
from ui.shell.screens import SCREENS, screen
from ui.shell.state import ledger
from ui.teaching.seat import forget_old_classes

chosen = st.navigation([screen(key) for key in SCREENS], position="top")
st.set_page_config(page_title=f"{chosen.title} · Mergescope", page_icon=str(ASSETS / "icon.svg"), layout="wide")
dress()
with show_errors():
    ledger()  # if the folder of runs cannot be used, its error is shown instead of the page
    chosen.run()
    save_figures()
    forget_old_classes()  # last: a page does not wait for it, and is there if the ledger is busy
