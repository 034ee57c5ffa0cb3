"""Rows of pictures with captions, each row one element of the page.

The time that the server needs for a page grows with the page's number of elements. A row that is built from Streamlit's
columns, containers, images and captions would be about twenty-five elements.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import streamlit as st

WEAK = "This picture excites the unit less than its strongest image does."


@dataclass(frozen=True)
class Tile:
    """A picture with a caption, or a grey box in its place.

    Attributes:
        caption: the lines of text below the picture, without Markdown.
        image: PNG, or None for a grey box.
        alt: the picture's alternative text, or the text in the grey box.
        flagged: whether a warning mark follows the caption.
        wide: whether the picture is a sheet of several images, which needs more room.
    """

    caption: tuple[str, ...]
    image: bytes | None = None
    alt: str = ""
    flagged: bool = False
    wide: bool = False


def show_tiles(tiles: Sequence[Tile], words: Sequence[str] = ()) -> None:
    """Show tiles side by side. words: lines of text on their left, the last one in bold."""
    left = ""
    if words:
        *lines, last = map(escape, words)
        left = f'<div class="words">{"".join(f"{line}<br>" for line in lines)}<b>{last}</b></div>'
    st.html(f'<div class="tiles">{left}{"".join(map(_figure, tiles))}</div>')


def show_strips(strips: Sequence[tuple[str, Tile]]) -> None:
    """Show tiles below each other, each with a label on its left."""
    rows = (f"<span>{escape(label)}</span>{_figure(tile)}" for label, tile in strips)
    st.html(f'<div class="strips">{"".join(rows)}</div>')


def _figure(tile: Tile) -> str:
    if tile.image is None:
        picture = f'<div class="blank">{escape(tile.alt)}</div>'
    else:
        # Embedded in the page, because forty files would need forty requests.
        source = f"data:image/png;base64,{base64.b64encode(tile.image).decode()}"
        picture = f'<img src="{source}" alt="{escape(tile.alt)}">'
    flag = f' <span class="flag" title="{WEAK}">⚠</span>' if tile.flagged else ""
    caption = "<br>".join(map(escape, tile.caption))
    kind = ' class="wide"' if tile.wide else ""
    return f"<figure{kind}>{picture}<figcaption>{caption}{flag}</figcaption></figure>"
