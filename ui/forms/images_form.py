"""Form for uploading images: a separate process reads and checks them, and they are stored as a data set."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path, PurePath
from typing import IO

import streamlit as st

from merging.jobs.ledger.images import LABEL, add_images
from merging.text import numbers
from merging.zoo.datasets.convert import read_size
from merging.zoo.datasets.own import OwnDataset
from ui.runs.progress import Waiting, reading
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.shell.state import ledger, owner

ENDINGS = ["zip", "npz"]
WHO = ["only me", "everybody here"]
COLOURS = {"auto": "unchanged", "grey": "grey", "colour": "colour"}
LAYOUT = """
**A zip** with one folder of images per class: `train/cat/1.png`, `test/dog/2.jpg`. If there are only
folders of classes (`cat/1.png`), a random fifth of each class becomes the test set. Classes are sorted by name, as in
torchvision's `ImageFolder`.

**An `.npz`** with `images` (n, height, width) or (n, height, width, 3) as uint8 and `labels` (n,); optionally
`test_images`, `test_labels` and `classes`.

The command line also takes a folder: `python -m merging data add FOLDER --name birds`.
"""
SIZE = (
    "Images of other sizes are scaled to cover this size and cropped at the centre. If the field is empty, the most "
    "common size is used."
)
SHARED = "If only you can use the images, others may see the figures of your runs on them, but never an image."


def images_form() -> None:
    """Draw the fields for file, name, size, channels and sharing; after the upload, a summary of the data set."""
    with st.popover("Accepted files", icon=":material/help:"):
        st.markdown(LAYOUT)
    file = st.file_uploader("Images by class: a .zip or .npz", ENDINGS, key="images file")
    name = st.text_input("Name", max_chars=LABEL, placeholder="birds", key="images name")
    left, right = st.columns(2)
    size = left.text_input("Height × width", placeholder="most common", help=SIZE, key="images size")
    colour = right.selectbox("Channels", list(COLOURS), format_func=COLOURS.__getitem__, key="images colour")
    who = st.segmented_control("Who can use them", WHO, default=WHO[0], key="images who", required=True, help=SHARED)
    with show_errors():
        pressed = st.button(
            "Read and add", type="primary", icon=":material/add_photo_alternate:", disabled=file is None
        )
        if pressed and file is not None:
            with reading("Reading the images") as waiting:
                dataset = bring(file, file.name, name, size, colour, who == WHO[1], waiting)
            _say(dataset)


def bring(
    file: IO[bytes],
    filename: str,
    name: str,
    size: str,
    colour: str,
    shared: bool,
    waiting: Waiting,
) -> OwnDataset:
    """Read an uploaded file and store it as the visitor's data set.

    Args:
        file: the open upload.
        filename: name of the upload, the data set's name where `name` is blank.
        name: name of the data set.
        size: "HEIGHTxWIDTH", or "" for the most common size.
        colour: a key of COLOURS.
        shared: whether every visitor may use the images.
        waiting: as for `convert_images`.

    Raises:
        InvalidRequest, InvalidSetting, DataUnavailable: with a readable message.
    """
    with tempfile.TemporaryDirectory(prefix="mergescope-") as scratch:
        path = Path(scratch) / "upload"  # never the name of the upload, which may point elsewhere
        with path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        label = name.strip() or PurePath(filename.replace("\\", "/")).stem
        return add_images(
            ledger(),
            path,
            owner(),
            label=label,
            shared=shared,
            size=read_size(size),
            colour=colour,
            waiting=waiting,
        )


def _say(dataset: OwnDataset) -> None:
    facts = dataset.facts
    st.success(
        f"Added {plain(facts.label)}: {numbers.count(facts.train)} training and {numbers.count(facts.test)} test "
        f"images, {len(facts.classes)} classes. They are shown below.",
        icon=":material/check:",
    )
    for note in dataset.notes:
        st.info(plain(note), icon=":material/info:")
