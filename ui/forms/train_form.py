"""Forms that train another seed of a shipped network, and download a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import streamlit as st

from merging.errors import InvalidRequest
from merging.jobs.ledger.jobs import Job
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.checks import TEXT
from merging.jobs.requests.download import DownloadRequest
from merging.jobs.requests.numbers import WHOLE_NUMBERS
from merging.jobs.requests.train import TrainRequest
from merging.text import numbers
from merging.zoo.catalogue import Entry, shipped
from merging.zoo.datasets.facts import FACTS
from merging.zoo.datasets.known import facts, known_datasets
from merging.zoo.datasets.load import available, training_images
from merging.zoo.datasets.own import is_own
from merging.zoo.training.options import TrainingOptions
from ui.forms.fields import setting_fields
from ui.runs.progress import failure, watch
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.shell.state import data_label, distinct, entries, find_job, image_hash, ledger, owner, submit
from ui.shell.words import meaning

AFTER = {
    "train": " It can now be selected on Merge.",
    "download": " Merges of networks of this data set now have curves.",
}
SLOW = 0.01  # learning rate below which stochastic gradient descent learns little in a few epochs
PLACES = {
    "folder": "on this machine, in your folder",
    "downloaded": "on this machine, downloaded",
    "shipped": "partly on this machine",
}


def families() -> dict[str, Entry]:
    """Return label -> one entry per kind of shipped network whose images are on this machine."""
    by_label: dict[str, Entry] = {}
    for entry in shipped():
        if available(entry.dataset):
            by_label.setdefault(f"{entry.label} · {data_label(entry.dataset)}", entry)
    return by_label


def train_form() -> None:
    """Draw the fields for network, images, seed and epochs, and the progress of the training."""
    by_label = families()
    if not by_label:
        st.info("No data set is on this machine. Download one under Data sets.", icon=":material/image_not_supported:")
        return
    like = by_label[st.selectbox("Network", list(by_label), key="train what")]
    dataset = _images(like)
    left, right = st.columns(2)
    bounds = {name: "From {:,} to {:,}.".format(*WHOLE_NUMBERS[name].bounds) for name in ("seed", "epochs")}
    about = f"{meaning('seed')} {bounds['seed']}"
    seed = left.number_input("Seed", value=2, step=1, key="train seed", help=about)
    usual = like.epochs or 5
    epochs = right.number_input("Epochs", value=usual, step=1, key=f"train epochs {like.id}", help=bounds["epochs"])
    with st.expander("Optimiser, schedule and training images", icon=":material/tune:"):
        settings = setting_fields(TrainingOptions, "train set")
        if settings["optimiser"] == "sgd" and settings["lr"] < SLOW:
            rate = f"{settings['lr']:g}"
            st.warning(f"SGD learns little at a learning rate of {rate}; usual are .05 to .2.", icon=":material/speed:")
        start = _start(like, dataset)
    with show_errors():
        request = train_request(like, int(seed), int(epochs), dataset, settings, start)
        spent = sum(ledger().expected(request).values())
        estimate = numbers.about(spent) if spent else "no time estimate yet"
        part = "a part of " if {"share", "split"} & request.settings.keys() else ""
        st.caption(f"On {part}{numbers.count(training_images(dataset))} training images; {estimate}.")
        if st.button("Train", type="primary", icon=":material/play_arrow:"):
            job = submit(request)
            st.session_state["training"] = job.id
    follow("training")


def train_request(
    like: Entry,
    seed: int,
    epochs: int,
    dataset: str,
    settings: Mapping[str, Any] = MappingProxyType({}),
    start: Entry | None = None,
) -> TrainRequest:
    """Return the request to train a network built like `like`, with the shape and classes of `dataset`.

    settings: of TrainingOptions; the network's name tells those that differ from their defaults.  start: the network
    from whose weights the training starts; None for random weights.
    Raises InvalidRequest where such a network cannot be trained.
    """
    config = dict(like.config)
    if dataset != like.dataset:
        images = facts(dataset)
        config |= {"in_shape": list(images.shape), "classes": len(images.classes)}
    if settings.get("lora") and start is None:
        raise InvalidRequest("LoRA changes a network that is trained already. Choose one under *Start from*.")
    first = None if start is None else ModelRef.of(start)
    sha256 = image_hash(dataset, None)
    request = TrainRequest(
        like.architecture, config, dataset, sha256, epochs, seed, settings=dict(settings), start=first
    )
    words = "" if start is None else f" · from {start.name}"
    words += "".join(f" · {name.replace('_', ' ')} {value}" for name, value in request.settings.items())
    return replace(request, name=f"{like.label} · {data_label(dataset)} · seed {seed}{words}"[:TEXT])


def _images(like: Entry) -> str:
    """Draw a menu of data sets if the visitor can use uploaded images; return the data set to train on."""
    own = {name: images.label for name, images in known_datasets(owner()).items() if is_own(name)}
    labels = distinct({like.dataset: data_label(like.dataset), **own})
    if not own:
        return like.dataset
    help = "For uploaded images, the network is built to fit their size and classes."
    return st.selectbox("Images", list(labels), format_func=labels.__getitem__, key="train images", help=help)


def _start(like: Entry, dataset: str) -> Entry | None:
    """Draw the menu of networks from which the training may start; None for random weights."""
    known = {
        id: entry
        for id, entry in entries().items()
        if (entry.architecture, entry.config, entry.dataset) == (like.architecture, like.config, dataset)
    }
    labels = {"": "random weights"} | {id: entry.name for id, entry in known.items()}
    help = "A network of the same structure and images, which is then fine-tuned; LoRA needs one."
    chosen = st.selectbox("Start from", list(labels), format_func=labels.__getitem__, key=f"start {like.id}", help=help)
    return known.get(chosen or "")


def follow(key: str) -> None:
    """Show the progress or the outcome of the job whose id is in the session state under `key`."""
    job = find_job(st.session_state.get(key, ""))
    if job is None:
        return
    if job.open:
        watch(job)
    elif job.state == "failed":
        failure(job)
    elif job.state == "done" and job.kind == "train" and not _is_listed(job):
        st.warning(
            f"Done: {plain(job.title)}. It is not among your networks, because there was no room for it or it was "
            "deleted. Delete another network and press *Train* again; nothing is trained anew.",
            icon=":material/inventory_2:",
        )
    elif job.state == "done":
        st.success(f"Done: {plain(job.title)}." + AFTER[job.kind], icon=":material/check:")


def _is_listed(job: Job) -> bool:
    """Whether the network of a finished training can be selected."""
    made = ledger().artifacts(job.id).get("checkpoint.safetensors", ("",))[0]
    return any(entry.sha256 == made for entry in entries().values())


def data_sets() -> None:
    """List the data sets and where their images are, with a button to download missing ones."""
    for key, dataset in FACTS.items():
        place = available(key)
        left, right = st.columns([3, 2], vertical_alignment="center")
        with left:
            mark = ":green[:material/check_circle:]" if place else ":gray[:material/cloud_download:]"
            where = PLACES[place] if place else "not on this machine"
            count = numbers.count(training_images(key) or dataset.train)
            st.markdown(f"{mark} **{dataset.label}**  \n:gray[{where}, {count} training images]")
        with right:
            if place != "downloaded" and place != "folder":
                _download(key, "Download all" if place else "Download")
    follow("download")


def _download(key: str, label: str) -> None:
    if st.button(label, key=f"download {key}", icon=":material/download:", help=f"Licence: {FACTS[key].licence}"):
        with show_errors():
            st.session_state["download"] = submit(DownloadRequest(key)).id
            st.rerun()
