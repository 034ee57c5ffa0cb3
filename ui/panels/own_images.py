"""Data sets of uploaded images that the visitor may use: facts, sample images per class, and actions."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import streamlit as st

from merging.jobs.ledger.images import delete_images, share_images
from merging.text import numbers
from merging.zoo.datasets.claims import ImageClaim
from merging.zoo.datasets.image_set import SPLITS
from merging.zoo.datasets.load import load_split
from merging.zoo.datasets.own import OwnDataset, own_datasets, sample_images
from ui.neurons.tiles import labelled_sheet, show_picture
from ui.shell.guard import show_errors
from ui.shell.look import show_table
from ui.shell.markdown import plain
from ui.shell.state import ledger, owner

ROWS, COLUMNS = 4, 8
NAME, LETTERS = 12, 15  # class name below an image: largest number of letters, their height in pixels


def own_images_panel() -> None:
    """Draw one card per data set of uploaded images, if there are any."""
    datasets = own_datasets(owner())
    if datasets:
        st.markdown(f"**Uploaded images** :gray[{len(datasets)}]")
    for dataset in datasets:
        with st.container(border=True, key=f"images {dataset.id}"):
            _card(dataset)


def image_fact_lines(dataset: OwnDataset) -> list[str]:
    """Return the facts about a data set as lines of Markdown."""
    facts = dataset.facts
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (facts.mean, facts.std))
    shape = "×".join(map(str, facts.shape))
    return [
        f"{numbers.count(facts.train)} training and {numbers.count(facts.test)} test images of {shape} · "
        f"{len(facts.classes)} classes · {numbers.size(dataset.bytes)}",
        f"mean {mean} · std {std} (of the training images in 0..1)",
        f"`{dataset.id}`",
    ]


def counts_table(dataset: OwnDataset) -> list[dict[str, object]]:
    """Return one row per class: its number, its name, and the number of images per split."""
    rows = zip(dataset.facts.classes, dataset.counts["train"], dataset.counts["test"], strict=True)
    return [{"Label": n, "Class": name, "Training": a, "Test": b} for n, (name, a, b) in enumerate(rows)]


def as_npz(id: str) -> bytes:
    """Return the data set as the bytes of an .npz file, which `load_images` reads as the same data set."""
    out, sets = io.BytesIO(), {split: load_split(id, split) for split in SPLITS}
    arrays: dict[str, Any] = {f"{split}_images": np.moveaxis(one.images, 1, -1) for split, one in sets.items()}
    arrays |= {f"{split}_labels": one.labels for split, one in sets.items()}
    np.savez(out, **arrays, classes=np.array(sets["train"].classes))
    return out.getvalue()


def _card(dataset: OwnDataset) -> None:
    mine = dataset.claim_of(owner())
    left, right = st.columns([2, 3])
    with left:
        st.markdown(f"**{plain(dataset.facts.label)}** :gray[{_whose(dataset, mine)}]")
        st.markdown("  \n".join(image_fact_lines(dataset)))
        for note in dataset.notes:
            st.caption(plain(note))
        with st.container(horizontal=True):
            _actions(dataset, mine)
    with right, show_errors():
        names = ", ".join(dataset.facts.classes[:20])
        show_picture(sheet(dataset.id), f"Training images of {dataset.facts.label} by class: {names}")


@st.cache_data(max_entries=16, show_spinner=False)
def sheet(id: str) -> bytes:
    """Return a PNG of at most 4 x 8 training images in the order of classes, each with its class below."""
    images = sample_images(id, ROWS * COLUMNS, COLUMNS)
    words = [images.classes[label][:NAME] for label in images.labels]
    return labelled_sheet(images, range(len(images)), words, COLUMNS, LETTERS)


def _whose(dataset: OwnDataset, mine: ImageClaim | None) -> str:
    if mine is None:
        return "shared by someone else"
    return "yours, shared with everybody here" if mine.shared else "yours alone"


def _actions(dataset: OwnDataset, mine: ImageClaim | None) -> None:
    with st.popover("Classes", icon=":material/table_rows:"):
        show_table(counts_table(dataset), alt="Images per class in training and test")
    st.download_button(
        "Download", lambda: as_npz(dataset.id), f"{dataset.id}.npz", "application/octet-stream",
        key=f"get {dataset.id}", icon=":material/download:", on_click="ignore",
    )  # fmt: skip
    if mine is None:
        return
    if st.button("Stop sharing" if mine.shared else "Share", key=f"share {dataset.id}", icon=":material/group:"):
        with show_errors():
            share_images(ledger(), dataset.id, owner(), not mine.shared)
            st.rerun()
    with st.popover("Delete", icon=":material/delete:"):
        st.caption("Finished runs on these images stay, but no longer show any image.")
        if st.button("Delete these images", key=f"delete {dataset.id}", type="primary"):
            with show_errors():
                delete_images(ledger(), dataset.id, owner())
                st.rerun()
