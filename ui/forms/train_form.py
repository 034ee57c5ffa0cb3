"""Train one more seed of a network of the zoo, and fetch the images of a data set."""

from __future__ import annotations

import streamlit as st

from merging.jobs.requests.checks import BOUNDS
from merging.jobs.requests.download import DownloadRequest
from merging.jobs.requests.train import TrainRequest
from merging.text import numbers
from merging.zoo.catalogue import Entry, shipped
from merging.zoo.datasets.facts import FACTS
from merging.zoo.datasets.known import dataset_label, facts, known_datasets
from merging.zoo.datasets.load import available, training_images
from merging.zoo.datasets.own import is_own
from ui.runs.progress import failure, watch
from ui.shell.guard import in_words
from ui.shell.markdown import plain
from ui.shell.state import distinct, image_hash, ledger, owner, submit
from ui.shell.words import meaning

AFTER = {"train": " It can now be picked on Merge.", "download": " Merges of its networks have curves now."}
PLACES = {"folder": "here, in your own folder", "downloaded": "here, downloaded", "shipped": "a part is here"}


def families() -> dict[str, Entry]:
    """One entry of every kind of shipped network whose images are on this machine, by what it is called."""
    found: dict[str, Entry] = {}
    for entry in shipped():
        if available(entry.dataset):
            found.setdefault(f"{entry.label} · {dataset_label(entry.dataset)}", entry)
    return found


def train_form() -> None:
    """Which network, which seed, how many epochs; then its progress."""
    known = families()
    if not known:
        st.info("No data set is on this machine. Download one below.", icon=":material/image_not_supported:")
        return
    chosen = known[st.selectbox("Network", list(known), key="train what")]
    dataset = _images(chosen)
    left, right = st.columns(2)
    seed = left.number_input("Seed", *BOUNDS["seed"], value=2, step=1, key="train seed", help=meaning("seed"))
    usual = chosen.epochs or 5
    epochs = right.number_input("Epochs", *BOUNDS["epochs"], value=usual, step=1, key=f"train epochs {chosen.id}")
    with in_words():
        request = train_request(chosen, int(seed), int(epochs), dataset)
        spent = sum(ledger().expected(request).values())
        told = numbers.about(spent) if spent else "no training of it yet tells how long it takes"
        st.caption(f"On {numbers.count(training_images(dataset))} training images; {told}.")
        if st.button("Train", type="primary", icon=":material/play_arrow:"):
            job = submit(request)
            st.session_state["training"] = job.id
    follow("training")


def train_request(like: Entry, seed: int, epochs: int, dataset: str) -> TrainRequest:
    """The training of a network built like `like`, on its own data set or on another, whose shape and classes it takes.

    Raises InvalidRequest where it cannot.
    """
    config = dict(like.config)
    if dataset != like.dataset:
        known = facts(dataset)
        config |= {"in_shape": list(known.shape), "classes": len(known.classes)}
    name = f"{like.label} · {dataset_label(dataset)} · seed {seed}"
    return TrainRequest(like.architecture, config, dataset, image_hash(dataset, None), epochs, seed, name)


def _images(like: Entry) -> str:
    """The menu of images, where somebody has brought any; the data set to train on."""
    own = {name: known.label for name, known in known_datasets(owner()).items() if is_own(name)}
    labels = distinct({like.dataset: dataset_label(like.dataset), **own})
    if not own:
        return like.dataset
    help = "On own images, a network of this kind that takes their size and tells their classes apart."
    return st.selectbox("Images", list(labels), format_func=labels.__getitem__, key="train images", help=help)


def follow(key: str) -> None:
    """The progress of the job whose id this visit keeps under `key`, and how it ended."""
    job = ledger().job(st.session_state.get(key, ""))
    if job is None:
        return
    if job.open:
        watch(job)
    elif job.state == "failed":
        failure(job)
    elif job.state == "done":
        st.success(f"Done: {plain(job.title)}." + AFTER[job.kind], icon=":material/check:")


def data_sets() -> None:
    """Which images are here, and a button for those that are not."""
    for key, known in FACTS.items():
        place = available(key)
        left, right = st.columns([3, 2], vertical_alignment="center")
        with left:
            mark = ":green[:material/check_circle:]" if place else ":gray[:material/cloud_download:]"
            where = PLACES[place] if place else "not on this machine"
            count = numbers.count(training_images(key) or known.train)
            st.markdown(f"{mark} **{known.label}**  \n:gray[{where}, {count} training images]")
        with right:
            if place != "downloaded" and place != "folder":
                _download(key, "Download all" if place else "Download")
    follow("download")


def _download(key: str, label: str) -> None:
    if st.button(label, key=f"download {key}", icon=":material/download:", help=f"Licence: {FACTS[key].licence}"):
        with in_words():
            st.session_state["download"] = submit(DownloadRequest(key)).id
            st.rerun()
