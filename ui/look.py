"""The look that the theme cannot say: logo, style sheet, charts in the page's colours."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from merging.figures.palette import alt_text
from merging.paths import ASSETS

CHART = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"], "scrollZoom": False}


def dress() -> None:
    """Logo and style sheet (files of this program; no text of a user is ever in them)."""
    st.logo(str(ASSETS / "logo.svg"), size="large")
    st.html(ASSETS / "style.css")


def unbroken(text: str) -> str:
    """A text in which no line ends between a number and its unit."""
    return re.sub(r"(?<=\d) (?=%|pp\b|nats\b|images\b)", "\u00a0", text)


def draw(figure: go.Figure, key: str, name: str, **keywords: Any) -> Any:
    """A chart in the page's colours, with its words as alternative text. name: of the file when saved as PNG."""
    config = {**CHART, "toImageButtonOptions": {"filename": name, "scale": 2}}
    return st.plotly_chart(figure, key=key, theme="streamlit", config=config, alt=alt_text(figure), **keywords)


def draw_clickable(figure: go.Figure, key: str, name: str, clicked: Callable[[Any], None]) -> None:
    """A chart whose points can be clicked: `clicked` is given the point's customdata before the page is drawn anew, so
    that one drawing shows what came of it."""

    def tell() -> None:
        points = st.session_state[key]["selection"]["points"]
        if points:
            clicked(points[0]["customdata"])

    draw(figure, key, name, on_select=tell, selection_mode="points")
