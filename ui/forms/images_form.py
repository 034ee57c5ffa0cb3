"""Bring images of one's own: read in a process of its own, checked, and kept as a data set."""

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
from ui.shell.guard import in_words
from ui.shell.markdown import plain
from ui.shell.state import ledger, owner

ENDINGS = ["zip", "npz"]
WHO = ["only me", "everybody here"]
COLOURS = {"auto": "as they are", "grey": "grey", "colour": "colour"}
LAYOUT = """
**A zip** with one folder of images per class: `train/cat/1.png`, `test/dog/2.jpg`; or `cat/1.png` without train and
test, then a fifth of each class is drawn for testing. Classes take the order of their names, as in torchvision's
`ImageFolder`.

**An `.npz`** with `images` (n, height, width) or (n, height, width, 3) as uint8 and `labels` (n,), and `test_images`,
`test_labels` and `classes` if you have them.

From the command line, a folder too: `python -m merging data add FOLDER --name birds`.
"""
SIZE = "Other sizes are scaled to cover it and cropped at the centre. Empty: the size that most images have."
SHARED = "Where only you can use them, other people may see figures of your runs on them, but never an image."


def images_form() -> None:
    """File, name, size, channels, and who may use them; then what the reading gave."""
    with st.popover("What to bring", icon=":material/help:"):
        st.markdown(LAYOUT)
    file = st.file_uploader("Images by class: a .zip or .npz", ENDINGS, key="images file")
    name = st.text_input("Name", max_chars=LABEL, placeholder="birds", key="images name")
    left, right = st.columns(2)
    size = left.text_input("Height × width", placeholder="most common", help=SIZE, key="images size")
    colour = right.selectbox("Channels", list(COLOURS), format_func=COLOURS.__getitem__, key="images colour")
    who = st.segmented_control("Who can use them", WHO, default=WHO[0], key="images who", required=True, help=SHARED)
    with in_words():
        pressed = st.button(
            "Read and add", type="primary", icon=":material/add_photo_alternate:", disabled=file is None
        )
        if pressed and file is not None:
            with reading("Reading the images in a process of its own") as waiting:
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
    """Read an uploaded file and keep it as the visitor's data set.

    filename: gives the name where a person gives none.  waiting: as of `convert_images`.
    Raises InvalidRequest, InvalidSetting and DataUnavailable in words.
    """
    with tempfile.TemporaryDirectory(prefix="mergescope-") as scratch:
        path = Path(scratch) / "upload"  # never the name that came with it
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
        f"images, {len(facts.classes)} classes. Look at them below.",
        icon=":material/check:",
    )
    for note in dataset.notes:
        st.info(plain(note), icon=":material/info:")
