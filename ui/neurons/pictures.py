"""Pictures of units: those that are known, and jobs for those that are missing, sixteen a pass."""

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
from ui.shell.guard import in_words
from ui.shell.state import ledger, submit

WAYS: dict[str, dict[str, Any]] = {
    "whole unit": {},
    "centre": {"objective": "neuron"},
    "negative": {"negative": True},
    "still": {"jitter": 0.0},
    "turned and scaled": {"rotation": 15.0, "scale": 0.15},
}
WAY_HELP = (
    "What a picture makes large: the unit's mean over all positions; its value at the centre; its opposite, what the "
    "unit is against (read before its activation). The picture is shifted at random in every step, so that it holds "
    "at any place: not at all when still; also turned by up to 15 degrees and scaled by up to 15 %."
)
EVERY = 2.0  # seconds between two looks while pictures are being made
Key = tuple[str, int]  # source, unit


@dataclass
class Gallery:
    """made: (source, unit) -> (PNG, objective).  waiting: on their way, with their job.  failed: with the job that
    failed or was cancelled.  refused: why no job could be asked for, or ""."""

    made: dict[Key, tuple[bytes, float]] = field(default_factory=dict)
    waiting: dict[Key, Job] = field(default_factory=dict)
    failed: dict[Key, Job] = field(default_factory=dict)
    refused: str = ""


def networks(job: Job, request: MergeRequest) -> dict[str, ModelRef]:
    """Source -> the network one looks into: A, B, and what the run made of them."""
    a, b = request.models[:2]
    found = {"A": a, "B": b}
    made = ledger().artifacts(job.id)
    for name in ("merge", "naive"):
        if f"{name}.safetensors" in made:
            found[name] = replace(a, sha256=made[f"{name}.safetensors"][0], name=f"{name} of run {job.id[:6]}")
    return found


def choose_way() -> str:
    """The menu of how pictures are made; it is part of the address."""
    return st.selectbox("Pictures", list(WAYS), key="pictures", help=WAY_HELP, width=180, bind="query-params")


def how_made(way: str) -> str:
    """One line on how pictures of a way are made."""
    made = read_settings(PictureSettings, WAYS[way])
    aim = "less" if made.negative else "more"
    where = "at the centre" if made.objective == "neuron" else "in the mean over positions"
    moved = [f"shifted by up to {100 * made.jitter:.0f} %"] if made.jitter else []
    moved += [f"turned by up to {made.rotation:.0f} degrees"] if made.rotation else []
    moved += [f"scaled by up to {100 * made.scale:.0f} %"] if made.scale else []
    return (
        f"Made by {made.steps} steps of Adam ({made.lr:g}) from noise of seed 0, so that the unit answers {aim} "
        f"{where}; Fourier coefficients held back by frequency; {', '.join(moved) or 'not moved'} in every step; never "
        "resized."
    )


def look(
    models: dict[str, ModelRef], layer: str, now: Iterable[Cell], next: Iterable[Cell] = (), *, way: str
) -> Gallery:
    """What is known of the cells of `now`, made in a way of WAYS; jobs are asked for what is missing, filled up with
    cells of `next`."""
    gallery = Gallery()
    now, next = list(now), list(next)
    likes = {source: PicturesRequest(model, layer, (0,), WAYS[way]) for source, model in models.items()}
    jobs = _jobs(likes)
    for source, like in likes.items():
        wanted, ahead = _living(now, source), _living(next, source)
        there = ledger().pictures(like, [*wanted, *ahead])
        known = {unit: saved for unit, saved in there.items() if unit in wanted}
        gallery.made.update({(source, unit): read_picture(saved) for unit, saved in known.items()})
        asked = {unit: job for (sha256, unit), job in jobs.items() if sha256 == like.model.sha256}
        for unit in (unit for unit in wanted if unit not in known and unit in asked):
            (gallery.waiting if asked[unit].open else gallery.failed)[source, unit] = asked[unit]
        missing = [unit for unit in wanted if unit not in known and unit not in asked]
        if missing:
            more = [unit for unit in ahead if unit not in asked and unit not in there]
            _ask(gallery, source, like, missing, more)
    return gallery


def watch(ask: Callable[[], Gallery], draw: Callable[[Gallery], None]) -> Gallery:
    """Draw pictures, and again every two seconds while some of them are being made; gives what was drawn first.

    ask: looks the pictures up and queues what is missing, as `look` does.  draw: shows them.
    """
    first = ask()
    unseen = [first]

    def drawing() -> None:
        with in_words():
            gallery = unseen.pop() if unseen else ask()
            draw(gallery)
            if first.waiting and not gallery.waiting:
                st.rerun(scope="app")  # so that nothing looks again any more

    if first.waiting:
        st.fragment(drawing, run_every=EVERY)()
    else:
        drawing()
    return first


def ask_again(models: dict[str, ModelRef], layer: str, failed: dict[Key, Job], way: str) -> None:
    """Queue again what failed or was cancelled."""
    for source in {source for source, _ in failed}:
        units = sorted(unit for name, unit in failed if name == source)
        for first in range(0, len(units), MAX_UNITS):
            part = tuple(units[first : first + MAX_UNITS])
            submit(PicturesRequest(models[source], layer, part, WAYS[way]), again=True)


def _ask(gallery: Gallery, source: str, like: PicturesRequest, missing: list[int], more: list[int]) -> None:
    """Ask for the missing units, sixteen a job; what room the last job has is filled with `more`."""
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
    """(network's sha256, unit) -> the newest job that is making its picture or failed to; an open one before others."""
    found: dict[tuple[str, int], Job] = {}
    wanted = {(like.layer, json.dumps(like.settings, sort_keys=True), like.seed) for like in likes.values()}
    listed = ledger().jobs(kind="pictures", states=(*OPEN, "failed", "cancelled"), limit=200)
    for job in sorted(listed, key=lambda job: (not job.open, -job.created)):
        asked = job.request
        if (asked["layer"], json.dumps(asked.get("settings"), sort_keys=True), asked["seed"]) in wanted:
            for unit in asked["units"]:
                found.setdefault((asked["model"]["sha256"], unit), job)
    return found
