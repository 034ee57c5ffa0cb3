"""Bring checkpoints: each file is read by a process of its own, measured on images, shown, and kept when accepted."""

from __future__ import annotations

from pathlib import PurePath

import streamlit as st

from merging.errors import InvalidRequest
from merging.zoo.architectures.names import NAMES, NONLINEARITIES, describe, torchvision_keys
from merging.zoo.checkpoints.metadata import clean_name
from merging.zoo.datasets.known import find_facts, known_datasets
from ui.forms.upload_review import EXPORT, Finding, Said, bundles, check, fed_alike, keep, settle, show
from ui.runs.progress import reading
from ui.shell.guard import in_words
from ui.shell.state import distinct, ledger, owner

ENDINGS = ["safetensors", "pt", "pth", "th", "ckpt", "bin", "pt2", "zip", "json"]  # what a file is, its bytes say
SAYS = "file"  # the menus' first entry: what the file says of itself
OTHER = "other"  # none of the known data sets
FINDINGS = "upload findings"
HELP = (
    "One number per channel of images in 0..1, as they were normalised for the training. Left empty, it is measured "
    "on images which normalisation is right."
)
UNSAID = (
    "A state dict does not say how its layers are wired. Left open, every known network with these tensors is tried on "
    "images of the data set, and you choose. `timm/NAME` can be typed where timm is installed."
)


def upload_form() -> None:
    """Files and what is said of them on the left; on the right what they are, before they are added."""
    left, right = st.columns([2, 3], gap="large")
    said: Said | None = None
    with left, in_words():
        largest = int(ledger().limits.upload_mb)
        files = st.file_uploader(
            "Checkpoints, both networks of a pair at once", ENDINGS, max_upload_size=largest, accept_multiple_files=True
        )
        said = _said()
        if st.button("Check", type="primary", icon=":material/fact_check:", disabled=not files):
            with reading("Reading and measuring in a process of its own") as waiting:
                named = _named([(file.name, file.getvalue()) for file in files or ()])
                found = [check(name, data, said, waiting) for name, data in bundles(named)]
                st.session_state[FINDINGS] = fed_alike(found, said, waiting)
    with right:
        findings: list[Finding] = st.session_state.get(FINDINGS, [])
        if findings and said is not None:
            _review(findings, said)
        else:
            st.caption("What each file is, and what it is worth on images, is shown here before it is added.")
            st.caption("A network of any architecture can be brought as an exported program, which this line writes:")
            st.code(EXPORT, language="python")


def _review(findings: list[Finding], said: Said) -> None:
    """What was made of each file, and the button that keeps them once nothing is open."""
    chosen = show(findings)
    good = [(finding, pick) for finding, pick in zip(findings, chosen, strict=True) if not finding.refusal]
    is_open = any(finding.question is not None and pick is None for finding, pick in good)
    label = f"Add {len(good)} networks" if len(good) > 1 else "Add this network"
    if not st.button(label, type="primary", icon=":material/add:", disabled=not good or is_open):
        return
    with in_words(), reading("Reading it as what was chosen") as waiting:
        settled = fed_alike([settle(finding, pick, said, waiting) for finding, pick in good], said, waiting)
        entries = [keep(finding, said) for finding in settled]
        del st.session_state[FINDINGS]
        names = ", ".join(f"{entry.label}, {entry.parameters:,} parameters" for entry in entries)
        st.success(f"Added: {names}.", icon=":material/check:")


def _said() -> Said:
    """The fields, filled in for a known data set."""
    name = st.text_input("Name", max_chars=80, placeholder="as the file is called", key="upload name")
    known_sets = known_datasets(owner())
    sets = {key: facts.label for key, facts in known_sets.items()}
    labels = distinct({SAYS: "as the file says", OTHER: "another data set", **sets})
    labels[OTHER] = labels.pop(OTHER)  # the last of the menu
    dataset = st.selectbox("Trained on", list(labels), format_func=labels.__getitem__, key="upload data")
    named = ["", *NAMES, *torchvision_keys()]
    architecture = st.selectbox(
        "Network",
        named,
        format_func=lambda key: describe(key, {}) if key else "find out",
        help=UNSAID,
        key="upload architecture",
        accept_new_options=True,
    )
    words = {SAYS: "find out, or as the file says", **NONLINEARITIES}
    between = st.selectbox("Nonlinearity", list(words), format_func=words.__getitem__, key="upload nonlinearity")
    private = st.segmented_control(
        "Who can use it", ["only me", "everybody here"], default="only me", key="upload private", required=True
    )
    config = {} if between == SAYS else {"nonlinearity": between}
    said = Said(name=name, architecture=architecture or "", config=config, private=private == "only me")
    if dataset == SAYS:
        st.caption("Files from here say how they were trained. For others, choose the data set.")
        return said
    return said.about(*_images(dataset))


def _images(dataset: str) -> tuple[str, tuple[float, ...] | None, tuple[float, ...] | None, tuple[str, ...]]:
    """Data set, mean, std and classes."""
    known = find_facts(dataset)
    left, right = st.columns(2)
    mean = left.text_input("Mean", placeholder="measured", key=f"mean {dataset}", help=HELP)
    std = right.text_input("Std", placeholder="measured", key=f"std {dataset}", help=HELP)
    names = ", ".join(known.classes) if known else ""
    classes = st.text_area("Classes, in the order of the outputs", names, key=f"classes {dataset}", height=80)
    return "" if known is None else dataset, numbers_of(mean), numbers_of(std), names_of(classes)


def numbers_of(text: str) -> tuple[float, ...] | None:
    """ "0.49, 0.48, 0.45" as numbers, None for none. Raises InvalidRequest where a part is no number."""
    try:
        return tuple(float(part) for part in text.replace(";", ",").split(",") if part.strip()) or None
    except ValueError:
        raise InvalidRequest(
            f"Mean and std are numbers with commas between them, such as 0.49, 0.48; got {text!r}."
        ) from None


def names_of(text: str) -> tuple[str, ...]:
    """ "cat, dog" as names of at most 80 printable characters."""
    return tuple(name for part in text.replace("\n", ",").split(",") if (name := clean_name(part)))


def _named(files: list[tuple[str, bytes]]) -> dict[str, bytes]:
    """Name -> bytes; the second file of a name, from another folder perhaps, is called "name (2)"."""
    named: dict[str, bytes] = {}
    for name, data in files:
        path, number, free = PurePath(name), 1, name
        while free in named:
            number += 1
            free = f"{path.stem} ({number}){path.suffix}"
        named[free] = data
    return named
