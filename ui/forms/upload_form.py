"""Form for uploading checkpoints: a separate process reads and measures each file, and accepted ones are stored."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import PurePath

import streamlit as st

from merging.errors import InvalidRequest
from merging.zoo.architectures.names import NAMES, NONLINEARITIES, describe, torchvision_keys
from merging.zoo.checkpoints.metadata import clean_name
from merging.zoo.checkpoints.sandbox import start_reader
from merging.zoo.datasets.known import find_facts, known_datasets
from ui.forms.upload_review import EXPORT, Finding, Said, check, fed_alike, keep, settle, show_findings
from ui.runs.progress import reading
from ui.shell.guard import show_errors
from ui.shell.state import distinct, ledger, owner

ENDINGS = [
    "safetensors",
    "pt",
    "pth",
    "th",
    "ckpt",
    "bin",
    "pt2",
    "zip",
    "json",
]  # the bytes decide the format
SAYS = "file"  # first entry of the menus: use the metadata of the file
OTHER = "other"  # none of the known data sets
FINDINGS = "upload findings"
HELP = (
    "One number per channel, for images in 0..1, as used in training. If the fields are empty, the normalisation with "
    "the highest accuracy on images is used."
)
PARTS = ".safetensors.index.json"
UNSAID = (
    "A state dict does not record how its layers are connected. If you choose no architecture here, every "
    "architecture that the file's tensors fit is measured on images of the data set, and you choose one of "
    "them. You can type `timm/NAME` if timm is installed."
)


def bundles(files: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """Return (name, bytes) per network; safetensors shards with their index are packed into one zip archive."""
    indexes = [name for name in files if name.endswith(PARTS)]
    if not indexes:
        return list(files.items())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            archive.writestr(PurePath(name).name, data)
    return [(indexes[0].removesuffix(PARTS), packed.getvalue())]


def upload_form() -> None:
    """Draw the upload with its fields on the left; on the right what was detected in each file, before it is added."""
    left, right = st.columns([2, 3], gap="large")
    said: Said | None = None
    with left, show_errors():
        largest = int(ledger().limits.upload_mb)
        files = st.file_uploader(
            "Checkpoints, one or several files at once", ENDINGS, max_upload_size=largest, accept_multiple_files=True
        )
        said = _said()
        if files:
            start_reader()
        if st.button("Check", type="primary", icon=":material/fact_check:", disabled=not files):
            with reading("Reading the files and measuring the networks") as waiting:
                by_name = _named([(file.name, file.getvalue()) for file in files or ()])
                fresh = [check(name, data, said, waiting) for name, data in bundles(by_name)]
                st.session_state[FINDINGS] = fed_alike(fresh, said, waiting)
    with right:
        findings: list[Finding] = st.session_state.get(FINDINGS, [])
        if findings and said is not None:
            _review(findings, said)
        else:
            st.caption("The network in each file and its accuracy on images are shown here before you add it.")
            st.caption("A network of any architecture can be uploaded as an exported program. This code writes one:")
            st.code(EXPORT, language="python")


def _review(findings: list[Finding], said: Said) -> None:
    """Show the findings, and the button that stores the networks once all questions are answered."""
    picks = show_findings(findings)
    good = [(finding, pick) for finding, pick in zip(findings, picks, strict=True) if not finding.refusal]
    is_open = any(finding.question is not None and pick is None for finding, pick in good)
    label = f"Add {len(good)} networks" if len(good) > 1 else "Add this network"
    if not st.button(label, type="primary", icon=":material/add:", disabled=not good or is_open):
        return
    with show_errors(), reading("Reading the files as the selected networks") as waiting:
        networks = fed_alike([settle(finding, pick, said, waiting) for finding, pick in good], said, waiting)
        entries = [keep(finding, said) for finding in networks]
        del st.session_state[FINDINGS]
        names = ", ".join(f"{entry.label}, {entry.parameters:,} parameters" for entry in entries)
        st.success(f"Added: {names}.", icon=":material/check:")


def _said() -> Said:
    """Draw the fields, filled in for a known data set; return their values."""
    name = st.text_input("Name", max_chars=80, placeholder="name of the file", key="upload name")
    known_sets = known_datasets(owner())
    sets = {key: facts.label for key, facts in known_sets.items()}
    labels = distinct({SAYS: "as stated in the file", OTHER: "another data set", **sets})
    labels[OTHER] = labels.pop(OTHER)  # the last option of the menu
    dataset = st.selectbox("Trained on", list(labels), format_func=labels.__getitem__, key="upload data")
    architectures = ["", *NAMES, *torchvision_keys()]
    architecture = st.selectbox(
        "Network",
        architectures,
        format_func=lambda key: describe(key, {}) if key else "detect",
        help=UNSAID,
        key="upload architecture",
        accept_new_options=True,
    )
    words = {SAYS: "detect, or as stated in the file", **NONLINEARITIES}
    between = st.selectbox("Nonlinearity", list(words), format_func=words.__getitem__, key="upload nonlinearity")
    private = st.segmented_control(
        "Who can use it", ["only me", "everybody here"], default="only me", key="upload private", required=True
    )
    config = {} if between == SAYS else {"nonlinearity": between}
    said = Said(name=name, architecture=architecture or "", config=config, private=private == "only me")
    if dataset == SAYS:
        st.caption("Files from Mergescope state how their networks were trained. For other files, choose the data set.")
        return said
    return said.about(*_images(dataset))


def _images(dataset: str) -> tuple[str, tuple[float, ...] | None, tuple[float, ...] | None, tuple[str, ...]]:
    """Draw the fields about the images; return data set, mean, std and classes."""
    facts = find_facts(dataset)
    left, right = st.columns(2)
    mean = left.text_input("Mean", placeholder="measured", key=f"mean {dataset}", help=HELP)
    std = right.text_input("Std", placeholder="measured", key=f"std {dataset}", help=HELP)
    names = ", ".join(facts.classes) if facts else ""
    classes = st.text_area("Classes, in the order of the outputs", names, key=f"classes {dataset}", height=80)
    return "" if facts is None else dataset, numbers_of(mean), numbers_of(std), typed_names(classes)


def numbers_of(text: str) -> tuple[float, ...] | None:
    """Parse "0.49, 0.48, 0.45"; None for an empty text. Raises InvalidRequest where a part is not a number."""
    try:
        return tuple(float(part) for part in text.replace(";", ",").split(",") if part.strip()) or None
    except ValueError:
        raise InvalidRequest(
            f"Mean and std are numbers separated by commas, such as 0.49, 0.48, not {text!r}."
        ) from None


def typed_names(text: str) -> tuple[str, ...]:
    """Parse "cat, dog" into names of at most 80 printable characters."""
    return tuple(name for part in text.replace("\n", ",").split(",") if (name := clean_name(part)))


def _named(files: list[tuple[str, bytes]]) -> dict[str, bytes]:
    """Return name -> bytes. A second file of the same name, perhaps from another folder, becomes "name (2)"."""
    by_name: dict[str, bytes] = {}
    for name, data in files:
        path, number, free = PurePath(name), 1, name
        while free in by_name:
            number += 1
            free = f"{path.stem} ({number}){path.suffix}"
        by_name[free] = data
    return by_name
