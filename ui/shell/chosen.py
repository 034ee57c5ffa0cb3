"""The run that a page shows: the one in its address, else the last displayed one, else the example."""

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
from merging.paths import without_folders
from merging.results.reports import FORMAT, MergeReport
from merging.zoo.catalogue import Preset, presets
from ui.shell.address import said
from ui.shell.state import PREFIX, find_job, ledger, merge_report

REMEMBERED = 30  # requests of this visit that are kept, so that a deleted run can be submitted again
WANTED = "wanted as {}"  # key of the session's state: the network that the page Models wants as A or B


@dataclass(frozen=True)
class Chosen:
    """The run that a page shows.

    Attributes:
        asked: the id in the address, "" for none.
        job: the run's job in the ledger, None where there is none.
        report: the report of a finished merge, otherwise None.
        trouble: why an existing run cannot be shown (another version made it, or a file is damaged), or "".
    """

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
        """The run's id, shortened as in addresses."""
        return self.job.id[:PREFIX] if self.job else self.asked[:PREFIX]


def chosen() -> Chosen:
    """Return the run that this page shows, with its report if it is finished; write its id into the address."""
    id_or_prefix = said("run") or st.session_state.get("run", "") or example_id()
    job = find_job(id_or_prefix)
    if job is None or job.kind != "merge":
        if job is not None:
            st.session_state.pop("run", None)
        return Chosen(id_or_prefix if job is None else "")
    look_at(job.id)
    try:
        from_json_of(job)
        remember(job.id, json.dumps(job.request))
        report = merge_report(job) if job.state == "done" else None
    except MergescopeError as error:
        return Chosen(id_or_prefix, trouble=without_folders(str(error)))
    if report is not None:
        st.session_state["last_done"] = job.id
    return Chosen(id_or_prefix, job, report)


def look_at(job_id: str) -> None:
    """Make this the run that pages show, and write its id into the address."""
    st.session_state["run"] = job_id[:PREFIX]
    if said("run")[:PREFIX] != job_id[:PREFIX]:
        st.query_params["run"] = job_id[:PREFIX]


def request_of(job: Job) -> MergeRequest:
    """The merge request of a job. Raises InvalidRequest where another version of the program submitted it."""
    request = from_json_of(job)
    if not isinstance(request, MergeRequest):
        raise TypeError(job.kind)
    return request


def from_json_of(job: Job) -> Request:
    """The request of a job. Raises InvalidRequest where another version of the program submitted it."""
    return _read(json.dumps(job.request))


@lru_cache(maxsize=256)
def _read(text: str) -> Request:
    """Return the same object for the same text, so that the request's id is computed once."""
    return from_json(text)


def example_id() -> str:
    """The id of the first preset's shipped run, else of any shipped merge; "" where there is none."""
    runs = [run for preset in presets() if (run := preset_run(preset))]
    return runs[0].id if runs else next((job.id for job in ledger().examples() if job.kind == "merge"), "")


def preset_run(preset: Preset) -> Job | None:
    """The shipped run of a preset, None where there is none."""
    return ledger().shipped.of_pair(preset)


def remember(job_id: str, request: str) -> None:
    """Keep a run's request for this visit, so that it can be submitted again after the run is deleted."""
    requests: dict[str, str] = st.session_state.setdefault("requests", {})
    requests[job_id[:PREFIX]] = request
    while len(requests) > REMEMBERED:
        requests.pop(next(iter(requests)))


def remembered(run: str) -> Request | None:
    """The request of a run that was displayed during this visit, None for any other."""
    text = st.session_state.get("requests", {}).get(run[:PREFIX])
    return from_json(text) if text else None


def other_version(report: MergeReport) -> bool:
    """Whether another version of the program made this result; its numbers may have another meaning."""
    return report.format != FORMAT
