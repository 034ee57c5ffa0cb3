"""State that all pages share: ledger, visitor, networks, reports, images. Every cache is bounded."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import streamlit as st

from merging.errors import MergescopeError
from merging.jobs.ledger.jobs import Job
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.owners import network_of, owner_of
from merging.jobs.requests.base import Request
from merging.jobs.requests.registry import from_json, hashes_and_names, nameless, with_names
from merging.paths import home
from merging.results.reports import MergeReport, TrainReport
from merging.results.zip_report import ZipReport
from merging.zoo import catalogue
from merging.zoo.catalogue import Entry
from merging.zoo.datasets.fingerprint import fingerprint
from merging.zoo.datasets.known import dataset_label, find_facts, may_use
from merging.zoo.datasets.load import ImageSet, Split, available, load_split
from merging.zoo.datasets.own import is_own, seen_by
from ui.shell.middleware import COOKIE

PREFIX = 12  # hexadecimal digits of a run's id in addresses
TOGETHER = 2000  # images that are read and cached as one block


def ledger() -> Ledger:
    """The ledger of this program (jobs, results, networks), opened once per process."""
    return _ledger(home())


def owner() -> str:
    """The visitor's identifier, from the random name in their cookie; without cookies, for this session only."""
    cookie = str(st.context.cookies.get(COOKIE, ""))
    if re.fullmatch(r"[0-9a-f]{32}", cookie):
        return owner_of(cookie)
    return st.session_state.setdefault("owner", owner_of(secrets.token_hex(16)))


def submit(request: Request, *, again: bool = False, batch: str = "") -> Job:
    """Submit a request in the visitor's name. The other arguments and the errors are those of `Ledger.submit`."""
    return ledger().submit(request, again=again, batch=batch, owner=owner(), address=network_address())


def network_address() -> str:
    """The visitor's network address (see `network_of`), "" on this machine."""
    address = st.context.ip_address
    return network_of(address) if isinstance(address, str) else ""


def not_hidden(jobs: Iterable[Job]) -> list[Job]:
    """Those of the jobs that the visitor may list and whose results they may download."""
    return ledger().visible(jobs, owner())


def with_own_names(jobs: Iterable[Job]) -> list[Job]:
    """The jobs; networks and images have the names by which the visitor knows them.

    Two people may bring the same network. Their requests are one job, which holds the names of the first of them. For
    others, networks that they do not know have no names.
    """
    known = sorted(entries().values(), key=lambda entry: entry.owner == owner())  # own names replace those of others
    names = {entry.sha256: entry.name for entry in known}
    return [job if job.example else _with_names(job, names) for job in jobs]


def find_job(id_or_prefix: str) -> Job | None:
    """The job with this id, as `Ledger.job` finds it, with the visitor's names of their own networks.

    A job that the visitor may not list is found by at least PREFIX digits, because its address is its key.
    """
    digits = id_or_prefix.strip()
    job = ledger().job(digits) if digits else None
    if job is None or (len(digits) < PREFIX and not not_hidden([job])):
        return None
    return with_own_names([job])[0]


def _with_names(job: Job, names: Mapping[str, str]) -> Job:
    stored = dict(hashes_and_names(job.request))
    if job.owner != owner():
        names = {**{sha256: nameless(sha256) for sha256 in stored}, **names}
    request = with_names(job.request, names)
    try:
        dataset = request.get("dataset")
        label = data_label(dataset) if isinstance(dataset, str) and is_own(dataset) else ""
        title = _title(json.dumps(request), owner(), label)
    except MergescopeError:  # another version of the program submitted it
        title = job.kind
    shown = {name: names[sha256] for sha256, name in stored.items() if name and sha256 in names}
    error = job.error and {**job.error, "text": _reworded(job.error.get("text", ""), shown)}
    return replace(job, request=request, title=title, error=error)


def _reworded(text: str, names: Mapping[str, str]) -> str:
    """A text in which whole words that are old names of networks are replaced by their new names, in one pass."""
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{words})(?!\w)", lambda match: names[match[0]], text) if words else text


@lru_cache(maxsize=1024)
def _title(request: str, person: str, images: str) -> str:
    """Title of a job for a person. images: the label of own images, which may change and stands in the title."""
    with seen_by(person):
        return from_json(request).title


def entries() -> dict[str, Entry]:
    """Id -> every network that the visitor can choose: shipped networks, their own, and those that others share.

    Names are unique: where two networks have the same name, the newer one's name ends with its id.
    """
    own_and_shared = [entry for entry in ledger().models() if not entry.private or entry.owner == owner()]
    by_age = {entry.id: entry.name for entry in (*catalogue.shipped(), *reversed(own_and_shared))}
    names = distinct(by_age)
    return {entry.id: replace(entry, name=names[entry.id]) for entry in (*own_and_shared, *catalogue.shipped())}


def distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """Key -> unique label; if an earlier key has this label, the key is appended. Menus identify options by label."""
    in_use, unequal = set[str](), dict[str, str]()
    for key, label in labels.items():
        free = label
        while free in in_use:
            free = f"{free} · {key}"
        in_use.add(free)
        unequal[key] = free
    return unequal


def merge_report(job: Job) -> MergeReport | None:
    """The report of a finished merge, None where there is none. Raises MergescopeError where it is damaged."""
    report = _report(str(home()), job.id, job.finished or 0.0)
    return report if isinstance(report, MergeReport) else None


def zip_report(job: Job) -> ZipReport | None:
    """The report of a finished partial zip, with the same conditions as in `merge_report`."""
    report = _report(str(home()), job.id, job.finished or 0.0)
    return report if isinstance(report, ZipReport) else None


def images(dataset: str, split: Split, count: int) -> ImageSet | None:
    """The first images of a split, at least `count` if there are as many; None if the visitor cannot use them.

    The count is rounded up, so that few different sets are cached. Images may be on another machine, or belong to
    someone who does not share them; `why_no_images` gives the reason.
    """
    place = available(dataset) if may_use(dataset, owner()) else None
    return _images(dataset, split, -(-count // TOGETHER) * TOGETHER, place) if place else None


def why_no_images(dataset: str) -> str:
    """Reason why the visitor cannot see the images, as a sentence."""
    if find_facts(dataset) is not None and not may_use(dataset, owner()):
        return "The images belong to someone who does not share them."
    return "The images are not on this machine."


def data_label(dataset: str) -> str:
    """The display name of a data set for the visitor, "" for an unknown one."""
    return dataset_label(dataset, owner())


def image_hash(dataset: str, count: int | None) -> str:
    """Hash of the first `count` images of each split; "" if they are not here or not shared with the visitor."""
    return fingerprint(dataset, count) if may_use(dataset, owner()) else ""


@lru_cache(maxsize=2)
def _ledger(folder: Path) -> Ledger:
    return Ledger(folder)


@lru_cache(maxsize=24)
def _report(folder: str, job_id: str, finished: float) -> MergeReport | TrainReport | ZipReport | None:
    return ledger().report(job_id)


@lru_cache(maxsize=8)
def _images(dataset: str, split: Split, count: int, place: str) -> ImageSet:
    return load_split(dataset, split, count)
