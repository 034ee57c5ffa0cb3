"""Arrays of images that are wrong or made to harm: refused with the line that mends them, before numbers are read."""

from __future__ import annotations

import io
import struct
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from merging.errors import DataUnavailable
from merging.zoo.datasets.reading import arrays
from tests.zoo.image_files import drawn, reading, zipped

fresh = count()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("arrays")


def new(place: Path) -> Path:
    return place / f"place{next(fresh)}"


def refused(place: Path, source: Path, words: str) -> None:
    with pytest.raises(DataUnavailable, match=words):
        reading(source, new(place))


IMAGES, LABELS = drawn(5), np.arange(12) % 2
ARRAYS = {
    "pickles": ({"images": np.array([{}], object), "labels": LABELS}, "images holds Python objects"),
    "pickled names": ({"images": IMAGES, "labels": LABELS, "classes": np.array(["a", "b"], object)}, 'dtype="U"'),
    "floats": ({"images": IMAGES / 255, "labels": LABELS}, r"\(images \* 255\)\.round\(\)\.astype\('uint8'\)"),
    "int64": ({"images": IMAGES.astype(int), "labels": LABELS}, r"images\.astype\('uint8'\)"),
    "channels first": ({"images": IMAGES.transpose(0, 3, 1, 2), "labels": LABELS}, r"transpose\(0, 2, 3, 1\)"),
    "alpha": ({"images": np.zeros((12, 4, 4, 4), np.uint8), "labels": LABELS}, r"images\[\.\.\., :3\]"),
    "flat": ({"images": IMAGES.reshape(12, -1), "labels": LABELS}, r"give \(n, height, width\)"),
    "none": ({"images": IMAGES[:0], "labels": LABELS[:0]}, "shape"),
    "counts": ({"images": IMAGES, "labels": LABELS[:9]}, "12 images, but labels has 9 entries"),
    "one-hot": ({"images": IMAGES, "labels": np.eye(12, 2)}, r"labels\.argmax\(1\)"),
    "float labels": ({"images": IMAGES, "labels": LABELS / 1}, "whole numbers"),
    "words": ({"images": IMAGES, "labels": np.array(["a", "b"] * 6)}, "whole numbers, and the names as `classes`"),
    "negative": ({"images": IMAGES, "labels": LABELS - 1}, "labels ranges from -1 to 0"),
    "unsigned overflow": ({"images": IMAGES, "labels": np.full(12, 2**64 - 1, np.uint64)}, "ranges from 18446744"),
    "outside classes": (
        {"images": IMAGES, "labels": LABELS + 5, "classes": np.array(["a", "b"])},
        "a label 6, but only 2",
    ),
    "from 1": ({"images": IMAGES, "labels": LABELS + 1}, "of the class 0. .* Labels count from 0"),
    "one class": ({"images": IMAGES, "labels": LABELS * 0}, "only one class, 0"),
    "class without images": ({"images": IMAGES, "labels": LABELS * 2}, "There are no training images of the class 1"),
    "test class": (
        {"images": IMAGES, "labels": LABELS, "test_images": IMAGES, "test_labels": LABELS + 1},
        "There are no training images of the class 2",
    ),
    "half a test": (
        {"images": IMAGES, "labels": LABELS, "test_images": IMAGES},
        "only one of test_images and test_labels",
    ),
    "empty test": (
        {"images": IMAGES, "labels": LABELS, "test_images": IMAGES[:0], "test_labels": LABELS[:0]},
        "shape",
    ),
    "no names": ({"x": IMAGES, "y": LABELS}, "The .npz holds x, y. Name the arrays images and labels"),
    "two names": ({"images": IMAGES, "labels": LABELS, "classes": np.array(["a", "a"])}, "both called a"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_are_wrong_are_refused_with_the_line_that_mends_them(place, case):
    content, words = ARRAYS[case]
    path = new(place).with_suffix(".npz")
    np.savez(path, **content)
    refused(place, path, words)


def test_an_array_that_claims_more_than_it_holds_is_refused_before_it_is_read(place, monkeypatch):
    def claimed(shape: str, data: bytes = b"") -> Path:
        head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
        fake = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data
        out = io.BytesIO()
        np.save(out, LABELS)
        return zipped(new(place), {"images.npy": fake, "labels.npy": out.getvalue()})

    refused(place, claimed("(1000000, 1000, 1000)"), "images claims 1,000,000 MB")
    refused(place, claimed("(12, 4, 4)", b"few"), "images in the .npz is cut off")
    refused(place, claimed("(-12, -4, 4)"), "cut off")
    refused(place, claimed("'no'"), "images in the .npz is damaged")
    refused(place, zipped(new(place), {"images.npy": b"", "labels.npy": b"\x93NUMPY"}), "is damaged")
    monkeypatch.setattr(arrays, "MAX_FILES", 5)
    path = new(place).with_suffix(".npz")
    np.savez(path, images=IMAGES, labels=LABELS)
    refused(place, path, "There are 12 images; at most 5 are allowed")
