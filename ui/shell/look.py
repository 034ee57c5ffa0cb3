"""Appearance beyond Streamlit's theme: logo, style sheet, charts in the page's colours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import plotly.io
import streamlit as st
from plotly.basedatatypes import BaseFigure

from merging.figures.figure import Figure
from merging.jobs.requests.comparison import csv_text
from merging.paths import ASSETS
from ui.shell.address import said
from ui.shell.kept import kept

DRAWN = "drawn figures"  # session state: key of a chart -> (name, figure)
CHART = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"], "scrollZoom": False}


def dress() -> None:
    """Show the logo and load the style sheet. Both are files of this program and never contain a user's text.

    This begins a page: from now on, `drawn_figures` gives its charts only.
    """
    st.session_state[DRAWN] = {}
    st.logo(str(ASSETS / "logo.svg"), size="large")
    st.html(_page_parts(), unsafe_allow_javascript=True)


@lru_cache(maxsize=1)
def _page_parts() -> str:
    """The style sheet, and the script that closes the menu on phones."""
    style, script = ((ASSETS / name).read_text("utf-8") for name in ("style.css", "menu.js"))
    return f"<style>{style}</style><script>{script}</script>"


def unbroken(text: str) -> str:
    """The text with a no-break space between each number and its unit."""
    return re.sub(r"(?<=\d) (?=%|pp\b|nats\b|images\b)", "\u00a0", text)


class Chart(BaseFigure):
    """A figure of a class that Streamlit draws without validation; it would validate a dict with the same data."""

    def __init__(self, figure: Figure) -> None:  # BaseFigure's own __init__, which validates every value, is skipped
        spec = figure.spec()
        self._spec = {**spec, "layout": {"template": _template(), **spec["layout"]}}
        self._alt = figure.alt

    def to_dict(self) -> dict[str, Any]:
        """Return the figure's data and layout."""
        return self._spec


@lru_cache(maxsize=1)
def _template() -> dict[str, Any]:
    template: dict[str, Any] = plotly.io.templates[plotly.io.templates.default].to_plotly_json()
    return template


def draw(
    figure: Figure, key: str, name: str, *, saved: Figure | None = None, once: bool = False, **keywords: Any
) -> Any:
    """Show a chart in the page's colours, with alternative text.

    Args:
        name: file name of the saved picture.
        saved: the figure that *Save* writes, where it is another one.
        once: whether the figure was made for this drawing only, so that nothing is kept for the next.
    """
    st.session_state.setdefault(DRAWN, {})[key] = (name, saved or figure)
    config = {**CHART, "toImageButtonOptions": {"filename": name, "scale": 2}}
    chart = Chart(figure) if once else kept(Chart, figure)
    return st.plotly_chart(chart, key=key, theme="streamlit", config=config, alt=figure.alt, **keywords)


def show_table(rows: Sequence[Mapping[str, Any]], **keywords: Any) -> None:
    """Draw a table. Its own button writes CSV: what a spreadsheet would run as a formula is quoted, as in our files."""
    cells = [{csv_text(name): csv_text(value) for name, value in row.items()} for row in rows]
    st.dataframe(cells, hide_index=True, **keywords)


def table_below(key: str, make: Callable[[], list[dict[str, Any]]], alt: str) -> None:
    """Show the numbers of a chart as a table, for those who cannot see it; made when it is opened."""
    opened = st.expander("The same as a table", icon=":material/table_rows:", key=f"table {key}", on_change="rerun")
    if opened.open:
        with opened:
            show_table(make(), alt=alt)


def drawn_figures() -> dict[str, Figure]:
    """Name -> figure of every chart that this page shows. Names are unique."""
    figures = dict[str, Figure]()
    for key, (name, figure) in st.session_state.get(DRAWN, {}).items():
        figures[name if name not in figures else f"{name} {key}"] = figure
    return figures


def draw_clickable(
    figure: Figure, key: str, name: str, clicked: Callable[[Mapping[str, Any]], None], **keywords: Any
) -> None:
    """Show a chart with clickable points.

    `clicked` receives the point ("x", "y", "customdata") before the page is redrawn, so that this redraw already shows
    the effect.
    """

    def tell() -> None:
        points = st.session_state[key]["selection"]["points"]
        if points:
            clicked(points[0])

    draw(figure, key, name, on_select=tell, selection_mode="points", **keywords)


def with_selection(figure: Figure) -> Figure:
    """The figure with the layer marked that is selected in the address, if it has that layer."""
    layer = said("layer")
    return kept(Figure.with_selected, figure, layer) if layer and figure.has_layer(layer) else figure


def draw_layers(figure: Figure, key: str, name: str) -> None:
    """Show a figure with an axis of layers. A click selects a layer; all such figures of the page mark it."""

    def select(point: Mapping[str, Any]) -> None:
        layer = figure.layer_at(point)
        if layer:
            st.query_params["layer"] = layer

    draw_clickable(with_selection(figure), key, name, select, saved=figure, width="stretch")
