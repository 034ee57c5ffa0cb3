"""What every page reads: the ledger, who is looking, the networks, finished reports. Every cache is bounded."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import streamlit as st

from merging.jobs.ledger.jobs import Job
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.owners import owner_of
from merging.jobs.requests.base import Request
from merging.paths import home
from merging.results.reports import MergeReport, TrainReport
from merging.results.zip_report import ZipReport
from merging.zoo import catalogue
from merging.zoo.catalogue import Entry
from merging.zoo.datasets.fingerprint import fingerprint
from merging.zoo.datasets.known import find_facts, may_use
from merging.zoo.datasets.load import ImageSet, Split, available, load
from ui.shell.middleware import COOKIE


def ledger() -> Ledger:
    """The ledger of this program, opened once a process."""
    return _ledger(home())


def owner() -> str:
    """Who is looking, by the random name in their cookie; without cookies, one that lasts as long as the page."""
    named = str(st.context.cookies.get(COOKIE, ""))
    if re.fullmatch(r"[0-9a-f]{32}", named):
        return owner_of(named)
    return st.session_state.setdefault("owner", owner_of(secrets.token_hex(16)))


def submit(request: Request, *, again: bool = False) -> Job:
    """Ask for it in the visitor's name. again, and errors: as of `Ledger.submit`."""
    address = st.context.ip_address
    return ledger().submit(request, owner(), again=again, address=address if isinstance(address, str) else "")


def entries() -> dict[str, Entry]:
    """Every network the visitor can pick, by id: the shipped ones, their own, and what others share.

    No two have the same name: a later one of a known name has its id beside it.
    """
    brought = [entry for entry in ledger().models() if not entry.private or entry.owner == owner()]
    by_age = {entry.id: entry.name for entry in (*catalogue.shipped(), *reversed(brought))}
    names = distinct(by_age)
    return {entry.id: replace(entry, name=names[entry.id]) for entry in (*catalogue.shipped(), *brought)}


def distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """Key -> label, with the key beside a label that another key before it has: menus know options by their labels."""
    taken, unequal = set[str](), dict[str, str]()
    for key, label in labels.items():
        free = label
        while free in taken:
            free = f"{free} · {key}"
        taken.add(free)
        unequal[key] = free
    return unequal


def merge_report(job: Job) -> MergeReport | None:
    """The report of a finished merge; None where it has none. Raises MergescopeError where it is damaged."""
    found = _report(str(home()), job.id, job.finished or 0.0)
    return found if isinstance(found, MergeReport) else None


def zip_report(job: Job) -> ZipReport | None:
    """What a finished partial zip found, as `merge_report`."""
    found = _report(str(home()), job.id, job.finished or 0.0)
    return found if isinstance(found, ZipReport) else None


def images(dataset: str, split: Split, count: int) -> ImageSet | None:
    """The first `count` images of a split, None where they are not on this machine or not the visitor's to see."""
    place = available(dataset) if may_use(dataset, owner()) else None
    return _images(dataset, split, count, place) if place else None


def why_no_images(dataset: str) -> str:
    """Why the visitor is not shown the images, in a sentence."""
    if find_facts(dataset) is not None and not may_use(dataset, owner()):
        return "The images belong to somebody who does not share them."
    return "The images are not on this machine."


def image_hash(dataset: str, count: int | None) -> str:
    """The hash of the first `count` images of each split; "" where they are not here or not the visitor's to use."""
    return fingerprint(dataset, count) if may_use(dataset, owner()) else ""


@lru_cache(maxsize=2)
def _ledger(folder: Path) -> Ledger:
    return Ledger(folder)


@st.cache_resource(max_entries=24, show_spinner=False)
def _report(folder: str, job_id: str, finished: float) -> MergeReport | TrainReport | ZipReport | None:
    return ledger().report(job_id)


@st.cache_resource(max_entries=16, show_spinner=False)
def _images(dataset: str, split: Split, count: int, place: str) -> ImageSet:
    return load(dataset, split, count)
