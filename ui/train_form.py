"""Train one more seed of a network of the zoo, and fetch the images of a data set."""

from __future__ import annotations

import streamlit as st

from merging.figures import numbers
from merging.work.request import DownloadRequest, TrainRequest
from merging.work.request_checks import BOUNDS
from merging.zoo.catalogue import Entry, shipped
from merging.zoo.datasets.facts import FACTS
from merging.zoo.datasets.fingerprint import fingerprint
from merging.zoo.datasets.load import available, training_images
from ui.guard import in_words
from ui.progress import failure, plain, watch
from ui.state import ledger, owner
from ui.words import meaning

AFTER = {"train": " It can now be picked on Merge.", "download": " Merges of its networks have curves now."}
PLACES = {"folder": "here, in your own folder", "downloaded": "here, downloaded", "shipped": "a part is here"}


def families() -> dict[str, Entry]:
    """One entry of every kind of shipped network whose images are on this machine, by what it is called."""
    found: dict[str, Entry] = {}
    for entry in shipped():
        if available(entry.dataset):
            found.setdefault(f"{entry.label} · {FACTS[entry.dataset].label}", entry)
    return found


def train_form() -> None:
    """Which network, which seed, how many epochs; then its progress."""
    known = families()
    if not known:
        st.info("No data set is on this machine. Download one below.", icon=":material/image_not_supported:")
        return
    chosen = known[st.selectbox("Network", list(known), key="train what")]
    left, right = st.columns(2)
    seed = left.number_input("Seed", *BOUNDS["seed"], value=2, step=1, key="train seed", help=meaning("seed"))
    usual = chosen.epochs or 5
    epochs = right.number_input("Epochs", *BOUNDS["epochs"], value=usual, step=1, key=f"train epochs {chosen.id}")
    with in_words():
        request = train_request(chosen, int(seed), int(epochs))
        spent = sum(ledger().expected(request).values())
        told = numbers.about(spent) if spent else "no training of it yet tells how long it takes"
        st.caption(f"On {numbers.count(training_images(chosen.dataset))} training images; {told}.")
        if st.button("Train", type="primary", icon=":material/play_arrow:"):
            job = ledger().submit(request, owner())
            st.session_state["training"] = job.id
    follow("training")


def train_request(like: Entry, seed: int, epochs: int) -> TrainRequest:
    """The training of a network built like `like`."""
    name = f"{like.label} · {FACTS[like.dataset].label} · seed {seed}"
    data = fingerprint(like.dataset, None)
    return TrainRequest(like.architecture, dict(like.config), like.dataset, data, epochs, seed, name)


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
    for key, facts in FACTS.items():
        place = available(key)
        left, right = st.columns([3, 2], vertical_alignment="center")
        with left:
            mark = ":green[:material/check_circle:]" if place else ":gray[:material/cloud_download:]"
            where = PLACES[place] if place else "not on this machine"
            count = numbers.count(training_images(key) or facts.train)
            st.markdown(f"{mark} **{facts.label}**  \n:gray[{where}, {count} training images]")
        with right:
            if place != "downloaded" and place != "folder":
                _download(key, "Download all" if place else "Download")
    follow("download")


def _download(key: str, label: str) -> None:
    if st.button(label, key=f"download {key}", icon=":material/download:", help=f"Licence: {FACTS[key].licence}"):
        with in_words():
            st.session_state["download"] = ledger().submit(DownloadRequest(key), owner()).id
            st.rerun()
