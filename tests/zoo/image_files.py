"""Small images as folders, zips and arrays, for the tests of own images."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from merging.zoo.datasets.own import OwnDataset, read_facts
from merging.zoo.datasets.reading.limits import MAX_DECODED
from merging.zoo.datasets.reading.process import read_order

NAMES = ("ant", "bee", "cat", "dog")


def drawn(seed: int, count: int = 12, size: tuple[int, int] = (4, 5), channels: int = 3) -> np.ndarray:
    """Random images (count, height, width, channels) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, *size, channels), np.uint8)


def png(pixels: np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    """An image file of pixels (h, w), (h, w, 1) or (h, w, 3)."""
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(out, form, **options)
    return out.getvalue()


def folder(root: Path, files: dict[str, bytes]) -> Path:
    """Files in a folder, by their paths in it."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Files in a zip archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def by_class(images: np.ndarray, labels: Any, split: str = "", names: tuple[str, ...] = NAMES) -> dict[str, bytes]:
    """PNG files, one folder per class, below `split`."""
    top = f"{split}/" if split else ""
    pairs = zip(images, labels, strict=True)
    return {f"{top}{names[label]}/{at}.png": png(image) for at, (image, label) in enumerate(pairs)}


def two_classes(count: int = 10, **drawing: Any) -> dict[str, bytes]:
    """PNG files of two classes without a split: something that is right."""
    return by_class(drawn(0, count, **drawing), np.arange(count) % 2)


def reading(source: Path, into: Path, **order: Any) -> OwnDataset:
    """What the reading process does, in this process; into: an empty folder."""
    usual = {"label": "mine", "size": None, "colour": "auto", "most": MAX_DECODED}
    into.mkdir(parents=True, exist_ok=True)
    read_order(source, {**usual, **order}, into)
    json.loads((into / "facts.json").read_text("utf-8"))
    return read_facts(into)
