"""All units of a layer as contact sheets, one per network; a click on a tile leads to the unit's page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from merging.analysis.pictures.settings import contact_sheet
from merging.figures.figure import Figure
from merging.figures.units import sheet_figure
from merging.jobs.requests.base import ModelRef
from merging.results.reports import LayerUnits
from merging.text import numbers
from ui.neurons.pictures import Gallery, look, say_state, take_back_others, watch_pictures
from ui.neurons.tiles import FAST
from ui.neurons.units import SLOTS, Cell, cells, match_word, scale
from ui.shell.address import said_number
from ui.shell.kept import kept
from ui.shell.look import draw_clickable

SHEETS = ("A", "pi(B)", "merge", "naive")
COLUMNS, MOST = 8, 32
SHEET = "sheet"  # the parameter of the address, and the widget, that hold the page of contact sheets
CLICKED = "unit that was clicked"


def overview(layer: LayerUnits, models: dict[str, ModelRef], units: list[int], way: str) -> None:
    """Show at most 32 units per page; the sheets refresh while pictures are being made."""
    pages = max(1, -(-len(units) // MOST))
    number = _page(pages) if pages > 1 else 1
    page_units = units[(number - 1) * MOST : number * MOST]
    ask = partial(look, models, layer.layer, _all(layer, page_units), way=way)
    take_back_others(watch_pictures(ask, partial(_sheets, layer, page_units, models, way)))


def _page(pages: int) -> int:
    """Show the menu of pages; return the page in the address.

    The menu is not bound to the address: Streamlit would remove the parameter while a single unit is shown, so that
    *Back* would not return to the same page.
    """
    page = said_number(SHEET, 1, pages, 1)
    key = f"{SHEET} {page}"  # another page in the address, such as after *Back*, is another menu with its own default

    def tell() -> None:
        st.query_params[SHEET] = str(st.session_state[key])

    return st.pagination(pages, default=page, key=key, on_change=tell)


def follow_click() -> None:
    """Put the clicked unit into the address. Called at the top of the page, because a fragment cannot do it."""
    clicked = st.session_state.pop(CLICKED, None)
    if clicked is not None:
        st.query_params["layer"], st.query_params["unit"] = clicked


def _all(layer: LayerUnits, units: list[int]) -> list[Cell]:
    return [cell for unit in units for slot, cell in cells(layer, unit).items() if slot in SHEETS]


def _sheets(layer: LayerUnits, units: list[int], models: dict[str, ModelRef], way: str, gallery: Gallery) -> None:
    if CLICKED in st.session_state:  # a fragment cannot change the address; see `follow_click`
        st.rerun(scope="app")
    say_state(gallery, models, layer, way)
    slots = [slot for slot in SHEETS if slot in layer.models]
    for pair in (slots[:2], slots[2:]):
        for column, slot in zip(st.columns(2), pair, strict=False):
            with column:
                _sheet(layer, slot, units, gallery)


def _sheet(layer: LayerUnits, slot: str, units: list[int], gallery: Gallery) -> None:
    cells_shown = [cells(layer, unit)[slot] for unit in units]
    dead = sum(cell.dead for cell in cells_shown)
    waits = sum((cell.source, cell.unit) in gallery.waiting and not cell.dead for cell in cells_shown)
    grey = [f"{count} {why}" for count, why in ((dead, "dead"), (waits, "being made")) if count]
    st.markdown(f"**{SLOTS[slot]}**" + (f" :gray[{', '.join(grey)}, shown in grey]" if grey else ""))
    pngs = {key: png for key, (png, _) in gallery.made.items()}
    pictures = tuple(None if cell.dead else pngs.get((cell.source, cell.unit)) for cell in cells_shown)
    figure = kept(_sheet_figure, layer, slot, tuple(units), pictures)
    key = f"sheet {slot} {layer.layer} {units[0]}"
    draw_clickable(figure, key, f"units-{slot}", partial(_clicked, layer.layer))


def _sheet_figure(layer: LayerUnits, slot: str, units: tuple[int, ...], pictures: tuple[bytes | None, ...]) -> Figure:
    """Return one network's contact sheet. pictures: PNG of each unit, None where there is none."""
    columns = min(COLUMNS, len(units))
    sheet = _sheet_png([None if png is None else _pixels(png) for png in pictures], columns)
    words = [_hover(layer, unit) for unit in units]
    dead = sum(cells(layer, unit)[slot].dead for unit in units)
    alt = f"Pictures of {len(units)} units of {layer.layer} in {SLOTS[slot]}, {dead} of them dead"
    return sheet_figure(f"data:image/png;base64,{sheet}", units, words, columns, alt)


def _clicked(layer: str, point: Mapping[str, Any]) -> None:
    st.session_state[CLICKED] = (layer, str(int(point["customdata"])))


def _hover(layer: LayerUnits, unit: int) -> str:
    match = numbers.correlation(float(layer.match[unit]))
    return f"unit {unit}: match {match}, scale {numbers.ratio(float(scale(layer)[unit]))}, {match_word(layer, unit)}"


def _pixels(png: bytes) -> np.ndarray:
    pixels = np.asarray(Image.open(io.BytesIO(png)), np.float32) / 255
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _sheet_png(pictures: list[np.ndarray | None], columns: int) -> str:
    sheet = contact_sheet(pictures, columns)
    out = io.BytesIO()
    Image.fromarray(sheet[..., 0] if sheet.shape[2] == 1 else sheet).save(out, "PNG", compress_level=FAST)
    return base64.b64encode(out.getvalue()).decode()
