"""Bring a checkpoint: the file is opened by a process of its own, checked, and kept as safetensors."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import PurePath

import streamlit as st

from merging.errors import InvalidRequest
from merging.work.request_checks import check_fit
from merging.zoo.architectures.names import NONLINEARITIES, nonlinearity
from merging.zoo.catalogue import Entry, uploaded
from merging.zoo.checkpoints.sandbox import convert
from merging.zoo.datasets.facts import FACTS
from ui.guard import in_words
from ui.state import ledger, owner

LARGEST = 120  # MB: ResNet-50 has 102
ENDINGS = ["safetensors", "pt", "pth", "th", "ckpt", "bin"]  # what a file is, its first bytes say
SAYS = "file"  # the menus' first entry: what the file says of itself
OTHER = "other"  # none of the known data sets
HELP = "One number a channel of images in 0..1, as they were normalised for the training; 0 and 1 for none."
UNKNOWN = (
    "It is not known which images this network was trained on, so its merges have no curves and no similarity. Add it "
    "again with its data set to have them."
)
UNSAID = (
    "A plain state dict does not say what stands between its layers. For MLPs, plain CNNs and VGGs choose it; residual "
    "nets here have ReLU. With the wrong one the network still runs, but its accuracy is poor."
)


@dataclass(frozen=True)
class Story:
    """What a person says of a checkpoint; None is for what the file itself says. dataset: "" for none of the known."""

    dataset: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] = ()
    nonlinearity: str = SAYS


def upload_form() -> None:
    """File, name, data set, normalisation and classes; then the checked network is added to the cards."""
    file = st.file_uploader("A checkpoint: .safetensors, or a .pt / .pth state dict", ENDINGS, max_upload_size=LARGEST)
    name = st.text_input("Name", max_chars=80, placeholder="My VGG, seed 3", key="upload name")
    labels = {SAYS: "as the file says", **{key: facts.label for key, facts in FACTS.items()}, OTHER: "another data set"}
    dataset = st.selectbox("Trained on", list(labels), format_func=labels.__getitem__, key="upload data")
    words = {SAYS: "as the file says, else ReLU", **NONLINEARITIES}
    chosen = st.selectbox(
        "Nonlinearity", list(words), format_func=words.__getitem__, help=UNSAID, key="upload nonlinearity"
    )
    with in_words():
        story = replace(_story(dataset), nonlinearity=chosen)
        pressed = st.button("Check and add", type="primary", icon=":material/upload:", disabled=file is None)
        if pressed and file is not None:
            with st.spinner("Reading the file in a process of its own"):
                entry = add(file.getvalue(), name, story, PurePath(file.name).stem)
            between = "" if "nonlinearity" in entry.config else f", {nonlinearity(entry.config)} between its layers"
            if entry.dataset not in FACTS:
                st.warning(UNKNOWN, icon=":material/image_not_supported:")
            st.success(f"Added: {entry.label}, {entry.parameters:,} parameters{between}.", icon=":material/check:")


def add(data: bytes, name: str, story: Story, stem: str = "") -> Entry:
    """Check a file and keep it. Raises CheckpointError, UnknownArchitecture or InvalidRequest in words.

    stem: what it is called where neither the person nor the file itself names it.
    """
    if len(data) > LARGEST * 1_000_000:
        raise InvalidRequest(f"The file has {len(data) / 1e6:.0f} MB; {LARGEST} MB may be uploaded.")
    config = {} if story.nonlinearity == SAYS else {"nonlinearity": story.nonlinearity}
    made = convert(data, name=name, config=config, dataset=story.dataset, mean=story.mean, std=story.std)
    check_fit(made.facts["dataset"], made.facts["architecture"], {"in_shape": made.facts["config"].get("in_shape", ())})
    facts = {**made.facts, "name": made.facts["name"] or stem}
    entry = uploaded(facts, made.data, owner=owner(), created=time.time())
    outputs = entry.config.get("classes")
    if story.classes and outputs and len(story.classes) != outputs:
        raise InvalidRequest(f"The network has {outputs} outputs, but {len(story.classes)} classes are named.")
    return ledger().add_model(replace(entry, classes=story.classes or entry.classes), made.data, owner())


def _story(dataset: str) -> Story:
    """The fields about the images, filled in for a known data set; none where the file says it all."""
    if dataset == SAYS:
        st.caption("Files from here say how they were trained. For others, choose the data set.")
        return Story()
    known = FACTS.get(dataset)
    left, right = st.columns(2)
    mean = left.text_input("Mean", _text(known.mean if known else (0.0,)), key=f"mean {dataset}", help=HELP)
    std = right.text_input("Std", _text(known.std if known else (1.0,)), key=f"std {dataset}", help=HELP)
    names = ", ".join(known.classes) if known else ""
    classes = st.text_area("Classes, in the order of the outputs", names, key=f"classes {dataset}", height=80)
    return Story("" if known is None else dataset, numbers_of(mean), numbers_of(std), names_of(classes))


def numbers_of(text: str) -> tuple[float, ...]:
    """ "0.49, 0.48, 0.45" as numbers. Raises InvalidRequest where a part is none."""
    try:
        return tuple(float(part) for part in text.replace(";", ",").split(",") if part.strip())
    except ValueError:
        raise InvalidRequest(
            f"Mean and std are numbers with commas between them, such as 0.49, 0.48; got {text!r}."
        ) from None


def names_of(text: str) -> tuple[str, ...]:
    """ "cat, dog" as names."""
    return tuple(part.strip() for part in text.replace("\n", ",").split(",") if part.strip())


def _text(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
