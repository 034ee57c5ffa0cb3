"""Decode one image to a uint8 array of the data set's shape, and count the changes that were needed.

Colours are read as torchvision's ImageFolder reads them (`convert("RGB")`), so that a network gets the same input as in
its training. Two things differ from ImageFolder and are reported to the user: photos are rotated upright by their EXIF
data, and 16-bit images are scaled to 8 bits instead of clipped.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from merging.errors import DataUnavailable
from merging.zoo.datasets.reading.gathered import Picture, listed_names
from merging.zoo.datasets.reading.limits import MAX_PIXELS, MEGABYTE

T = TypeVar("T")
GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
READABLE = (*GREY, "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
ORIENTATION = 0x0112  # the EXIF tag
BITS, MEANING_OF_0, BLACK = 258, 262, 1  # tags of TIFF (BitsPerSample, PhotometricInterpretation) and a value of it
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Errors that PIL has raised on damaged or malicious files in tests; any other error ends the process.
_DAMAGES = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
CHANGES = {
    "fitted": "had another size and were scaled to {size} and cropped at the centre",
    "turned": "were turned upright, as their EXIF data say",
    "transparent": "have transparent parts, whose stored colours were kept",
    "deep": "have 16 bits and were scaled to 8",
    "CMYK": "were converted from CMYK to RGB without a colour profile",
    "to grey": "are coloured and were converted to grey",
    "to colour": "are grey and were copied into three channels",
}


@dataclass(frozen=True)
class Look:
    """Size and colour of an image, as its header states them.

    Attributes:
        size: (height, width) after rotation to upright.
        grey: whether the image has one channel.
    """

    size: tuple[int, int]
    grey: bool


@contextmanager
def guarded() -> Iterator[None]:
    """Context in which PIL raises an error for images above MAX_PIXELS and gives no other warnings."""
    usual = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = usual


def each(pictures: Sequence[Picture], read: Callable[[Picture], T]) -> list[T]:
    """Apply `read` to every image. Raises DataUnavailable naming the damaged images."""
    values, damaged_names = list[T](), list[str]()
    for picture in pictures:
        try:
            values.append(read(picture))
        except _BOMBS as error:
            raise DataUnavailable(
                f"{picture.name} has more than {MAX_PIXELS / 1e6:.0f} million pixels, which is the limit. Make it "
                "smaller, or take it out."
            ) from error
        except _DAMAGES:
            damaged_names.append(picture.name)
    if damaged_names:
        count = f"{len(damaged_names):,} images are" if len(damaged_names) > 1 else "An image is"
        raise DataUnavailable(
            f"{count} damaged, cut off or not an image: {listed_names(damaged_names)}. Remove or replace."
        )
    return values


def inspect_picture(picture: Picture) -> Look:
    """Read the header of an image. Raises DataUnavailable for several frames, and for values that are not colours."""
    with picture.open() as image:
        width, height = image.size
        if image.mode not in READABLE or (image.mode == "I" and image.format != "PPM") or _is_odd_tiff(image):
            raise DataUnavailable(
                f"{picture.name} holds values that are not colours of 8 or 16 bits (PIL's mode {image.mode}). Save "
                "it as an 8-bit PNG."
            )
        if image.format != "MPO" and _has_frames(image):  # in a phone's MPO, previews follow the photo
            raise DataUnavailable(f"{picture.name} has several frames or pages. Save one of them as an image.")
        size = (width, height) if _orientation(image) >= 5 else (height, width)
        return Look(size, image.mode in GREY)


def _is_odd_tiff(image: Image.Image) -> bool:
    """Whether it is a TIFF of more than 8 bits that are not 16, or in which 0 is white: PIL reads these unscaled."""
    if image.format != "TIFF" or image.mode not in DEEP:
        return False
    tags = image.tag_v2  # type: ignore[attr-defined]
    return tags.get(BITS) not in (None, (16,)) or tags.get(MEANING_OF_0) != BLACK


def common_size(looks: Sequence[Look]) -> tuple[int, int]:
    """The most common (height, width); among equally common ones the one with the largest area."""
    counts = Counter(look.size for look in looks)
    return max(counts, key=lambda size: (counts[size], size[0] * size[1], size))


def check_decoded_size(count: int, shape: tuple[int, int, int], most: int) -> None:
    """Raise DataUnavailable if `count` images of this shape (channels, height, width) exceed `most` bytes."""
    size = count * shape[0] * shape[1] * shape[2]
    if size > most:
        form = "×".join(map(str, shape))
        raise DataUnavailable(
            f"{count:,} images of {form} take {size / MEGABYTE:,.0f} MB, but only {most / MEGABYTE:,.0f} MB are "
            "available. Choose a smaller height × width, or bring fewer images."
        )


def decode(picture: Picture, shape: tuple[int, int, int], tally: Counter[str]) -> NDArray[np.uint8]:
    """Decode an image to uint8 (channels, height, width), and count each kind of change in `tally`.

    An image of another size is scaled (bilinear, antialiased) to cover height x width, and cropped at the centre.
    """
    channels, height, width = shape
    with picture.open() as file:
        file.load()
        image = _upright(file, tally)
        image = _grey_or_rgb(image, tally)
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        tally["to grey" if mode == "L" else "to colour"] += 1
        image = image.convert(mode)
    if image.size != (width, height):
        tally["fitted"] += 1
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def changes(tally: Counter[str], count: int, shape: tuple[int, int, int]) -> list[str]:
    """One sentence for the user per kind of change in the tally."""
    size = f"{shape[1]}×{shape[2]}"
    return [
        f"{tally[key]:,} of {count:,} images {words.format(size=size)}." for key, words in CHANGES.items() if tally[key]
    ]


def _has_frames(image: Image.Image) -> bool:
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 (upright) if there is none or it cannot be read."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except _DAMAGES:
        return 1
    return value if value in UPRIGHT else 1


def _upright(image: Image.Image, tally: Counter[str]) -> Image.Image:
    orientation = _orientation(image)
    if orientation == 1:
        return image
    tally["turned"] += 1
    return image.transpose(UPRIGHT[orientation])


def _grey_or_rgb(image: Image.Image, tally: Counter[str]) -> Image.Image:
    """Convert the image to mode L or RGB, and count the kinds of conversion in `tally`."""
    if image.mode in DEEP:
        tally["deep"] += 1
        values = np.asarray(image).astype(np.int64)  # PIL's own conversion would clip values above 255
        return Image.fromarray(((values * 255 + 32767) // 65535).clip(0, 255).astype(np.uint8))
    if image.mode in ("P", "PA", "RGBA", "LA"):
        image = image.convert("LA" if image.mode == "LA" else "RGBA")
        tally["transparent"] += image.getextrema()[-1][0] < 255  # type: ignore[index]
    tally["CMYK"] += image.mode == "CMYK"
    return image.convert("L" if image.mode in GREY else "RGB")
