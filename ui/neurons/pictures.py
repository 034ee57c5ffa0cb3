"""Pictures of units: lookup of stored pictures, and jobs for missing ones, sixteen units per job."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import streamlit as st

from merging.analysis.pictures.settings import PictureSettings
from merging.errors import InvalidRequest
from merging.jobs.ledger.jobs import OPEN, Job
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.pictures import MAX_UNITS, PicturesRequest
from merging.results.reports import LayerUnits
from merging.settings import read_settings
from merging.text import numbers
from ui.neurons.tiles import read_picture
from ui.neurons.units import Cell
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.shell.state import ledger, owner, submit
from ui.shell.words import meaning

WAYS: dict[str, dict[str, Any]] = {
    "centre": {},
    "whole unit": {"objective": "channel"},
    "negative": {"negative": True},
    "still": {"jitter": 0.0, "rotation": 0.0, "scale": 0.0},
}
WAY_HELP = (
    "Centre: the picture maximises the unit's activation at the centre position. Whole unit: it maximises the mean of "
    "the activation over all positions. Negative: it minimises the activation at the centre, taken before the "
    "activation function. In every step, the picture is shifted, turned and scaled at random, so that it shows what "
    "the unit responds to wherever it stands. Still: no such moves."
)
EVERY = 1.0  # seconds between two refreshes while pictures are being made
Key = tuple[str, int]  # source, unit


@dataclass
class Gallery:
    """The state of the requested pictures.

    Attributes:
        made: (source, unit) -> (PNG, response of the unit to it).
        waiting: (source, unit) -> the open job that makes the picture.
        failed: (source, unit) -> the job that failed or was cancelled.
        refused: why no job could be submitted, or "".
        excites: whether the pictures maximise the response, so that a weak one deserves a warning.
    """

    made: dict[Key, tuple[bytes, float]] = field(default_factory=dict)
    waiting: dict[Key, Job] = field(default_factory=dict)
    failed: dict[Key, Job] = field(default_factory=dict)
    refused: str = ""
    excites: bool = True


def networks(job: Job, request: MergeRequest) -> dict[str, ModelRef]:
    """Source -> a network of the run: "A", "B", and "merge" and "naive" where the run stored them."""
    a, b = request.models[:2]
    models = {"A": a, "B": b}
    artifacts = ledger().artifacts(job.id)
    for name in ("merge", "naive"):
        if f"{name}.safetensors" in artifacts:
            models[name] = replace(a, sha256=artifacts[f"{name}.safetensors"][0], name=f"{name} of run {job.id[:6]}")
    return models


def choose_way() -> str:
    """Show the menu of ways to make pictures; return the selected way, which is part of the address."""
    return st.selectbox("Pictures", list(WAYS), key="pictures", help=WAY_HELP, width=180, bind="query-params")


def how_made(layer: LayerUnits, way: str) -> str:
    """One paragraph on how pictures of a layer's units are made in this way."""
    settings = read_settings(PictureSettings, WAYS[way])
    aim = "minimise" if settings.negative else "maximise"
    where = ", at the centre position" if settings.objective == "neuron" else ", averaged over positions"
    where = where if layer.positions else ""
    moves = [f"shifted by up to {100 * settings.jitter:.0f} %"] if settings.jitter else []
    moves += [f"turned by up to {settings.rotation:.0f} degrees"] if settings.rotation else []
    moves += [f"scaled by up to {100 * settings.scale:.0f} %"] if settings.scale else []
    return (
        f"Each picture starts from random noise (seed 0); {settings.steps} steps of Adam (learning rate "
        f"{settings.lr:g}) {aim} the unit's response{where}. The picture's Fourier coefficients are damped by "
        f"frequency. In every step, the picture is {', '.join(moves) or 'not moved'}. It is never resized."
    )


def look(
    models: dict[str, ModelRef], layer: str, now: Iterable[Cell], next: Iterable[Cell] = (), *, way: str
) -> Gallery:
    """Look up the pictures of the cells `now`, and submit jobs for the missing ones.

    Args:
        models: source -> network.
        layer: torch name.
        now: displayed cells.
        next: cells of the next page, which fill the last job up to sixteen units.
        way: a key of WAYS.
    """
    gallery = Gallery(excites=not WAYS[way].get("negative", False))
    now, next = list(now), list(next)
    likes = {source: PicturesRequest(model, layer, (0,), WAYS[way]) for source, model in models.items()}
    jobs = _jobs(likes)
    for source, like in likes.items():
        shown, ahead = _living(now, source), _living(next, source)
        stored = ledger().pictures(like, [*shown, *ahead])
        known = {unit: saved for unit, saved in stored.items() if unit in shown}
        gallery.made.update({(source, unit): read_picture(saved) for unit, saved in known.items()})
        pending = {unit: job for (sha256, unit), job in jobs.items() if sha256 == like.model.sha256}
        for unit in (unit for unit in shown if unit not in known and unit in pending):
            (gallery.waiting if pending[unit].open else gallery.failed)[source, unit] = pending[unit]
        missing = [unit for unit in shown if unit not in known and unit not in pending]
        if missing:
            more = [unit for unit in ahead if unit not in pending and unit not in stored]
            _ask(gallery, source, like, missing, more)
    return gallery


def watch_pictures(ask: Callable[[], Gallery], draw: Callable[[Gallery], None]) -> Gallery:
    """Draw pictures, and redraw them every second while some are being made; return the gallery drawn first.

    Args:
        ask: looks the pictures up and submits jobs for the missing ones, as `look` does.
        draw: shows them.
    """
    first = ask()
    unseen = [first]

    def drawing() -> None:
        with show_errors():
            gallery = unseen.pop() if unseen else ask()
            draw(gallery)
            if first.waiting and not gallery.waiting:
                st.rerun(scope="app")  # all pictures are there: the full rerun ends the refreshing

    if first.waiting:
        st.fragment(drawing, run_every=EVERY)()
    else:
        drawing()
    return first


def say_state(gallery: Gallery, models: dict[str, ModelRef], layer: LayerUnits, way: str) -> None:
    """Say how many pictures are ready and when the rest will be, or how they were made, and offer what can be done."""
    total = len(gallery.made) + len(gallery.waiting) + len(gallery.failed)
    if gallery.waiting:
        words = f"Making pictures: {len(gallery.made)} of {total} are ready{_when(gallery)}"
        left, right = st.columns([6, 1], vertical_alignment="center")
        left.progress(len(gallery.made) / total, words)
        if right.button("Stop", key="stop pictures", icon=":material/stop:", help="Cancels your waiting pictures."):
            for job in {job.id: job for job in gallery.waiting.values()}.values():
                with suppress(InvalidRequest):  # somebody else's, who looks at the same units
                    ledger().cancel(job.id, owner())
            st.rerun(scope="app")
    else:
        meanings = f"{meaning('picture of a unit')} {meaning('response')}"
        st.caption(f"{len(gallery.made)} pictures. {how_made(layer, way)}", help=meanings)
    if gallery.refused:
        st.warning(plain(gallery.refused), icon=":material/info:")
    if gallery.failed:
        why = {job.error["text"] for job in gallery.failed.values() if job.error}
        if why:
            words = f"{len(gallery.failed)} pictures could not be made. {plain(' '.join(sorted(why)))}"
            st.error(words, icon=":material/error:")
        else:
            st.info(f"{len(gallery.failed)} pictures were stopped before they were made.", icon=":material/stop:")
        if st.button("Try again", key="pictures again", icon=":material/replay:"):
            ask_again(models, layer.layer, gallery.failed, way)
            st.rerun(scope="app")


def _when(gallery: Gallery) -> str:
    """Words on when the last of the waiting pictures will be ready, or on what they wait for."""
    jobs = {job.id: job for job in gallery.waiting.values()}.values()
    if all(job.eta is not None for job in jobs):
        return f", the rest in about {numbers.duration(max(job.eta or 0.0 for job in jobs))}"
    if not any(job.state == "running" for job in jobs):
        return f"; number {min(job.position for job in jobs)} in the queue"
    return ""


def take_back_others(gallery: Gallery) -> None:
    """Delete the visitor's queued picture jobs that this view does not need, so that the displayed units come first."""
    needed = {job.id for job in gallery.waiting.values()}
    for job in ledger().jobs(owner=owner(), states=("queued",), kind="pictures"):
        if job.id not in needed:
            with suppress(InvalidRequest):  # another page of this visitor deleted it just now
                ledger().delete(job.id, owner())


def ask_again(models: dict[str, ModelRef], layer: str, failed: dict[Key, Job], way: str) -> None:
    """Resubmit the pictures that failed or were cancelled."""
    for source in {source for source, _ in failed}:
        units = sorted(unit for name, unit in failed if name == source)
        for first in range(0, len(units), MAX_UNITS):
            part = tuple(units[first : first + MAX_UNITS])
            submit(PicturesRequest(models[source], layer, part, WAYS[way]), again=True)


def _ask(gallery: Gallery, source: str, like: PicturesRequest, missing: list[int], more: list[int]) -> None:
    """Submit jobs for the missing units, sixteen units per job; `more` fills up the last job."""
    room = -len(missing) % MAX_UNITS
    units = [*missing, *[unit for unit in dict.fromkeys(more) if unit not in missing][:room]]
    try:
        for first in range(0, len(units), MAX_UNITS):
            part = tuple(units[first : first + MAX_UNITS])
            job = submit(replace(like, units=part))
            gallery.waiting.update({(source, unit): job for unit in part if unit in missing})
    except InvalidRequest as error:
        gallery.refused = str(error)


def _living(cells: list[Cell], source: str) -> list[int]:
    return list(dict.fromkeys(cell.unit for cell in cells if cell.source == source and not cell.dead))


def _jobs(likes: dict[str, PicturesRequest]) -> dict[tuple[str, int], Job]:
    """(sha256 of the network, unit) -> its open, failed or cancelled job; an open one first, then the newest."""
    newest: dict[tuple[str, int], Job] = {}
    questions = {(like.layer, json.dumps(like.settings, sort_keys=True), like.seed) for like in likes.values()}
    candidates = ledger().jobs(kind="pictures", states=(*OPEN, "failed", "cancelled"), limit=200)
    for job in sorted(candidates, key=lambda job: (not job.open, -job.created)):
        request = job.request
        if (request["layer"], json.dumps(request.get("settings"), sort_keys=True), request["seed"]) in questions:
            for unit in request["units"]:
                newest.setdefault((request["model"]["sha256"], unit), job)
    return newest
