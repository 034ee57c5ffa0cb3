"""Which run a page is about: the one in its address, else the last one looked at, else the example."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

import streamlit as st

from merging.errors import MergescopeError
from merging.jobs.ledger.jobs import Job
from merging.jobs.requests.base import Request
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.registry import from_json
from merging.results.reports import FORMAT, MergeReport
from merging.zoo.catalogue import Preset, find, presets
from ui.shell.address import said
from ui.shell.state import ledger, merge_report

PREFIX = 12  # digits of a run's id in addresses
REMEMBERED = 30  # requests of this visit, so that a deleted run can be asked for again


@dataclass(frozen=True)
class Chosen:
    """asked: the id in the address ("" for none); job: what the ledger knows of it; report: of a finished merge;
    trouble: why a run that is there cannot be shown (another version made it, or a file is damaged), or ""."""

    asked: str = ""
    job: Job | None = None
    report: MergeReport | None = None
    trouble: str = ""

    @property
    def gone(self) -> bool:
        """Whether the address names a run that is no longer there."""
        return bool(self.asked) and self.job is None and not self.trouble

    @property
    def short(self) -> str:
        """The run's id as addresses carry it."""
        return self.job.id[:PREFIX] if self.job else self.asked[:PREFIX]


def chosen() -> Chosen:
    """The run this page is about, with its report where it is done; the address is made to say which."""
    asked = said("run") or st.session_state.get("run", "") or example_id()
    job = ledger().job(asked) if asked else None
    if job is None or job.kind != "merge":
        if job is not None:
            st.session_state.pop("run", None)
        return Chosen(asked if job is None else "")
    look_at(job.id)
    try:
        from_json_of(job)
        remember(job.id, json.dumps(job.request))
        report = merge_report(job) if job.state == "done" else None
    except MergescopeError as error:
        return Chosen(asked, trouble=str(error))
    if report is not None:
        st.session_state["last_done"] = job.id
    return Chosen(asked, job, report)


def look_at(job_id: str) -> None:
    """Make this the run that pages are about, and let the address say so."""
    st.session_state["run"] = job_id[:PREFIX]
    if said("run")[:PREFIX] != job_id[:PREFIX]:
        st.query_params["run"] = job_id[:PREFIX]


def request_of(job: Job) -> MergeRequest:
    """The merge that a job was asked for. Raises InvalidRequest where another version of the program asked."""
    request = from_json_of(job)
    if not isinstance(request, MergeRequest):
        raise TypeError(job.kind)
    return request


def from_json_of(job: Job) -> Request:
    """The request of a job. Raises InvalidRequest where another version of the program asked."""
    return _read(json.dumps(job.request))


@lru_cache(maxsize=256)
def _read(text: str) -> Request:
    """One value for one text, so that its id is computed once."""
    return from_json(text)


def example_id() -> str:
    """The id of the finished run that comes with the program for the first preset; "" where there is none."""
    found = [run for preset in presets() if (run := preset_run(preset))]
    return found[0].id if found else next((job.id for job in ledger().examples() if job.kind == "merge"), "")


def preset_run(preset: Preset) -> Job | None:
    """The shipped run of a preset; None where none is shipped."""
    wanted = {find(preset.a).sha256, find(preset.b).sha256}
    method = (preset.align, preset.combine, preset.correct)
    for job in ledger().examples():
        asked = job.request
        if asked["kind"] != "merge" or {model["sha256"] for model in asked["models"]} != wanted:
            continue
        if (asked["align"], asked["combine"], asked["correct"]) == method:
            return job
    return None


def remember(job_id: str, request: str) -> None:
    """Keep what was asked for this visit, so that it can be asked again once it is deleted."""
    known: dict[str, str] = st.session_state.setdefault("requests", {})
    known[job_id[:PREFIX]] = request
    while len(known) > REMEMBERED:
        known.pop(next(iter(known)))


def remembered(run: str) -> Request | None:
    """What a run was asked for, if it was looked at during this visit."""
    text = st.session_state.get("requests", {}).get(run[:PREFIX])
    return from_json(text) if text else None


def other_version(report: MergeReport) -> bool:
    """Whether another version of the program made this result, so that its numbers may mean something else."""
    return report.format != FORMAT
