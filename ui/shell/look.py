"""The look that the theme cannot say: logo, style sheet, charts in the page's colours."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import plotly.io
import streamlit as st
from plotly.basedatatypes import BaseFigure

from merging.figures.figure import Figure
from merging.paths import ASSETS
from ui.shell.kept import kept

CHART = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"], "scrollZoom": False}


def dress() -> None:
    """Logo and style sheet (files of this program; no text of a user is ever in them)."""
    st.logo(str(ASSETS / "logo.svg"), size="large")
    st.html(ASSETS / "style.css")


def unbroken(text: str) -> str:
    """A text in which no line ends between a number and its unit."""
    return re.sub(r"(?<=\d) (?=%|pp\b|nats\b|images\b)", "\u00a0", text)


class Chart(BaseFigure):
    """A figure as Streamlit takes it, which asks it for nothing but its data, and would check those of a dict anew."""

    def __init__(self, figure: Figure) -> None:  # not BaseFigure's own, which checks each value
        spec = figure.spec()
        template = plotly.io.templates[plotly.io.templates.default].to_plotly_json()
        self._spec = {**spec, "layout": {"template": template, **spec["layout"]}}
        self._alt = figure.alt

    def to_dict(self) -> dict[str, Any]:
        """The data and the layout."""
        return self._spec


def draw(figure: Figure, key: str, name: str, **keywords: Any) -> Any:
    """A chart in the page's colours, with its words as alternative text. name: of the file when saved as PNG."""
    config = {**CHART, "toImageButtonOptions": {"filename": name, "scale": 2}}
    chart = kept(Chart, figure)
    return st.plotly_chart(chart, key=key, theme="streamlit", config=config, alt=figure.alt, **keywords)


def draw_clickable(figure: Figure, key: str, name: str, clicked: Callable[[Any], None]) -> None:
    """A chart whose points can be clicked: `clicked` is given the point's customdata before the page is drawn anew, so
    that one drawing shows what came of it."""

    def tell() -> None:
        points = st.session_state[key]["selection"]["points"]
        if points:
            clicked(points[0]["customdata"])

    draw(figure, key, name, on_select=tell, selection_mode="points")
