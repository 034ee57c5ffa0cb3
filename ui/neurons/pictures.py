"""Pictures of units: lookup of stored pictures, and jobs for missing ones, sixteen units per job."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import streamlit as st

from merging.analysis.pictures.settings import PictureSettings
from merging.errors import InvalidRequest
from merging.jobs.ledger.jobs import OPEN, Job
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.pictures import MAX_UNITS, PicturesRequest
from merging.settings import read_settings
from ui.neurons.tiles import read_picture
from ui.neurons.units import Cell
from ui.shell.guard import show_errors
from ui.shell.state import ledger, submit

WAYS: dict[str, dict[str, Any]] = {
    "whole unit": {},
    "centre": {"objective": "neuron"},
    "negative": {"negative": True},
    "still": {"jitter": 0.0},
    "turned and scaled": {"rotation": 15.0, "scale": 0.15},
}
WAY_HELP = (
    "Whole unit: the picture maximises the mean of the unit's activation over all positions. Centre: the picture "
    "maximises the activation at the centre position. Negative: the picture minimises the mean, taken before the "
    "activation function. In every step, the picture is shifted at random. Still: no shifts. Turned and scaled: also "
    "random rotation by up to 15 degrees and scaling by up to 15 %."
)
EVERY = 2.0  # seconds between two refreshes while pictures are being made
Key = tuple[str, int]  # source, unit


@dataclass
class Gallery:
    """The state of the requested pictures.

    Attributes:
        made: (source, unit) -> (PNG, objective).
        waiting: (source, unit) -> the open job that makes the picture.
        failed: (source, unit) -> the job that failed or was cancelled.
        refused: why no job could be submitted, or "".
    """

    made: dict[Key, tuple[bytes, float]] = field(default_factory=dict)
    waiting: dict[Key, Job] = field(default_factory=dict)
    failed: dict[Key, Job] = field(default_factory=dict)
    refused: str = ""


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


def how_made(way: str) -> str:
    """One paragraph on how pictures of this way are made."""
    settings = read_settings(PictureSettings, WAYS[way])
    aim = "minimise" if settings.negative else "maximise"
    where = "at the centre position" if settings.objective == "neuron" else "averaged over positions"
    moves = [f"shifted by up to {100 * settings.jitter:.0f} %"] if settings.jitter else []
    moves += [f"turned by up to {settings.rotation:.0f} degrees"] if settings.rotation else []
    moves += [f"scaled by up to {100 * settings.scale:.0f} %"] if settings.scale else []
    return (
        f"Each picture starts from random noise (seed 0); {settings.steps} steps of Adam (learning rate "
        f"{settings.lr:g}) {aim} the unit's response, {where}. The picture's Fourier coefficients are damped by "
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
    gallery = Gallery()
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
    """Draw pictures, and redraw them every two seconds while some are being made; return the gallery drawn first.

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
