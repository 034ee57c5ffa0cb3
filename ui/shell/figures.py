"""Menu at the end of a page that saves the figures of the page, for a paper or as numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import unescape

import streamlit as st

from merging.figures.paper import FORMATS, WIDTHS, figure_file
from merging.figures.series import figure_csv
from merging.text import numbers
from ui.shell.look import drawn_figures
from ui.shell.markdown import plain

TYPES = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png", "csv": "text/csv"}
WORDS = {"svg": "SVG", "pdf": "PDF", "png": "PNG, 300 dpi", "csv": "Numbers (CSV)"}


def save_figures() -> None:
    """Draw the menu, if the page has figures. Its content is made when it is opened."""
    figures = drawn_figures()
    if not figures:
        return
    count = f"{len(figures)} figures" if len(figures) > 1 else "figure"
    menu = st.popover(f"Save the {count} of this page", icon=":material/download:", key="figures", on_change="rerun")
    if not menu.open:
        return
    with menu:
        name = st.selectbox("Figure", list(figures), key="figure to save")
        width = st.radio("Width in the paper", list(WIDTHS), horizontal=True, key="figure width")
        figure = figures[name]
        st.caption(plain(unescape(figure.alt)))
        for kind in FORMATS:
            _button(kind, name, partial(figure_file, figure, kind, WIDTHS[width]))
        _button("csv", name, partial(figure_csv, figure))
        st.caption(
            f"SVG and PDF are vector graphics with embedded fonts, {numbers.ratio(WIDTHS[width])} inches wide, on "
            "white. Texts that show on hover are left out."
        )


def _button(kind: str, name: str, make: Callable[[], str | bytes]) -> None:
    st.download_button(
        WORDS[kind], make, f"{name}.{kind}", TYPES[kind], key=f"save {kind}", on_click="ignore", width="stretch",
        icon=":material/download:",
    )  # fmt: skip
