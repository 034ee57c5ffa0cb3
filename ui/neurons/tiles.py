"""Small pictures as PNG: a unit's picture, and the images of the data set to which the unit responds most."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import streamlit as st
from PIL import Image, ImageDraw, ImageFont

from merging.results import saving
from merging.results.reports import LayerUnits, UnitPicture
from merging.zoo.datasets.load import ImageSet

FAST = 1  # compression level of zlib: half the time of the default, files a quarter larger
SIDE = 112  # pixels per side of an image's tile
INK = (127, 127, 127)  # readable on a light and on a dark page
FRAME = (230, 159, 0)  # Okabe-Ito orange: where in the image the unit responds


@lru_cache(maxsize=2048)
def read_picture(saved: bytes) -> tuple[bytes, float]:
    """A saved UnitPicture as (PNG, response)."""
    picture: UnitPicture = saving.load(saved)
    return png(picture.pixels), picture.response


def show_picture(image: bytes, alt: str) -> None:
    """Show a PNG as wide as its column. It is embedded in the page, because forty files would need forty requests."""
    st.image(f"data:image/png;base64,{base64.b64encode(image).decode()}", width="stretch", alt=alt)


def png(pixels: np.ndarray) -> bytes:
    """Pixels (H, W, C) in 0..1 with C = 1 or 3, as a PNG of the same size."""
    out = io.BytesIO()
    _image(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)).save(out, "PNG", compress_level=FAST)
    return out.getvalue()


def exemplar_sheet(
    layer: LayerUnits, network: str, unit: int, images: ImageSet, columns: int = 9, most: int = 9
) -> bytes:
    """Return the images to which a unit responds most as one PNG, strongest first.

    In a convolution, a frame marks the position of the strongest response.

    Args:
        layer: the unit's layer.
        network: one of `layer.models`.
        unit: its number.
        images: the test images on which the units were measured.
        columns: images per row.
        most: largest number of images.
    """
    row = layer.models.index(network)
    numbers, places = layer.exemplars[row, unit, :most], layer.exemplar_places[row, unit, :most]
    sheet = Image.new("RGBA", (columns * SIDE, math.ceil(len(numbers) / columns) * SIDE))  # transparent
    for at, (number, place) in enumerate(zip(numbers, places, strict=True)):
        tile = _image(np.moveaxis(images.images[number], 0, -1)).convert("RGB").resize((SIDE - 4, SIDE - 4), 0)
        if layer.patch < 1:
            _frame(tile, place, layer.patch)
        sheet.paste(tile, (at % columns * SIDE + 2, at // columns * SIDE + 2))
    out = io.BytesIO()
    sheet.save(out, "PNG", compress_level=FAST)
    return out.getvalue()


def labelled_sheet(
    images: ImageSet, numbers: Sequence[int], words: Sequence[str], columns: int, letters: int = 10
) -> bytes:
    """Images of the data set as one PNG, row by row, each with its caption. letters: height of the text in pixels."""
    rows, line, font = math.ceil(len(numbers) / columns), letters + 6, ImageFont.load_default(letters)
    sheet = Image.new("RGBA", (columns * SIDE, rows * (SIDE + line)))
    draw = ImageDraw.Draw(sheet)
    for at, (number, text) in enumerate(zip(numbers, words, strict=True)):
        left, top = at % columns * SIDE + 2, at // columns * (SIDE + line) + 2
        tile = _image(np.moveaxis(images.images[number], 0, -1)).convert("RGB").resize((SIDE - 4, SIDE - 4), 0)
        sheet.paste(tile, (left, top))
        draw.text((left, top + SIDE - 4), text.replace("→", ">"), fill=INK, font=font)
    out = io.BytesIO()
    sheet.save(out, "PNG", compress_level=FAST)
    return out.getvalue()


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _frame(tile: Image.Image, place: np.ndarray, patch: float) -> None:
    """Draw a frame. place: (row, column) of its centre, patch: its side; both relative to the image's side."""
    side, half = tile.width, patch * tile.width / 2
    middle = [float(np.clip(at * side, half, side - half)) for at in place]
    box = [round(value) for value in (middle[1] - half, middle[0] - half, middle[1] + half - 1, middle[0] + half - 1)]
    ImageDraw.Draw(tile).rectangle(box, outline=FRAME, width=3)
