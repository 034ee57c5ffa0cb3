"""Rows of the page Runs: one row per job with its actions, and one row per worker."""

from __future__ import annotations

import json
from typing import Literal

import streamlit as st

from merging.errors import MergescopeError
from merging.jobs.ledger.jobs import Job, Worker
from merging.jobs.requests.registry import from_json, kinds
from merging.jobs.requests.study import StudyRequest
from merging.studies.registry import find_study
from merging.text import numbers
from ui.runs.progress import cancel_button, failure, progress_words
from ui.shell.chosen import PREFIX
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.shell.screens import link, screen
from ui.shell.state import entries, ledger, not_hidden, owner
from ui.shell.words import STATES

EVERY = 2.0  # seconds between two refreshes while a job is open
SHOWN = 40
Color = Literal["gray", "blue", "green", "red"]
COLORS: dict[str, Color] = {"queued": "gray", "running": "blue", "done": "green", "failed": "red", "cancelled": "gray"}
ICONS = {
    "queued": ":material/hourglass_empty:",
    "running": ":material/sync:",
    "done": ":material/check:",
    "failed": ":material/error:",
    "cancelled": ":material/cancel:",
}
KINDS = {key: kind.plural for key, kind in kinds().items()}
ASKED = [key for key, kind in kinds().items() if kind.by_button]  # pages of a run submit jobs of the other kinds
ADDRESSED = ("layer", "pair", "row", "column")  # settings of a study that a link to its page carries
GROUPS = (
    ("running", "Running"),
    ("queued", "Waiting"),
    ("done", "Done"),
    ("failed", "Failed"),
    ("cancelled", "Cancelled"),
)


def job_list(whose: str | None, kinds: list[str]) -> None:
    """Show the jobs of these kinds. whose: the owner, or None for all. The list refreshes while a job is open."""
    is_open = any(job.open for job in found(whose, kinds))
    st.fragment(_list, run_every=EVERY if is_open else None)(whose, kinds)


def found(whose: str | None, kinds: list[str]) -> list[Job]:
    """The newest jobs of an owner and of these kinds; for None those of all, except on others' private networks."""
    jobs = ledger().jobs(owner=whose, kind=kinds, limit=SHOWN)
    return list(jobs) if whose is not None else not_hidden(jobs)


def worker_lines(workers: tuple[Worker, ...]) -> list[dict[str, str]]:
    """One table row per worker: device, current job, memory."""
    return [
        {
            "Worker": worker.name,
            "Device": worker.device,
            "Now": f"runs {worker.busy[:6]}" if worker.busy else "free",
            "Memory": f"{numbers.size(worker.memory_used)} of {numbers.size(worker.memory_total)}",
            "GPU memory": _gpu(worker),
        }
        for worker in workers
    ]


def when(job: Job) -> str:
    """Progress of an open job, or how long ago it ended and how long it took, in one line."""
    if job.open:
        return progress_words(job)
    duration = f" · took {numbers.duration(job.finished - job.started)}" if job.finished and job.started else ""
    return f"{numbers.ago(job.finished or job.created)}{duration}"


def details(job: Job) -> str:
    """Seed, images and points of a merge, which distinguish it from others of the same networks; "" for other kinds."""
    if job.kind != "merge":
        return ""
    request = job.request
    if not {"seed", "images", "points"} <= request.keys():  # another version of the program submitted it
        return ""
    return f"seed {request['seed']} · {numbers.count(request['images'])} images · {request['points']} points · "


def nothing_here(whose: str | None, kinds: list[str]) -> str:
    """Why a list of jobs is empty, and what to do."""
    if ledger().jobs(limit=1):
        return (
            f"{'You have no' if whose else 'There are no'} jobs of these kinds. Choose other kinds above to see more."
        )
    return "No jobs yet. Press *Run merge* on the page Merge."


def _gpu(worker: Worker) -> str:
    if worker.gpu_memory_total is None:
        return "no GPU"
    used = f"{numbers.size(worker.gpu_memory_used)} of " if worker.gpu_memory_used is not None else ""
    return f"{used}{numbers.size(worker.gpu_memory_total)}"


def _list(whose: str | None, kinds: list[str]) -> None:
    with show_errors():
        jobs = found(whose, kinds)
        if not jobs:
            st.info(nothing_here(whose, kinds), icon=":material/list_alt:")
        for state, title in GROUPS:
            group = [job for job in jobs if job.state == state]
            if group:
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.markdown(f"**{title}** :gray[{len(group)}]", width="content")
                    _all_mine(state, [job for job in group if owner() in job.owners])
            for job in sorted(group, key=lambda job: job.position):
                _row(job)
        was, now = st.session_state.get("jobs were open"), any(job.open for job in jobs)
        st.session_state["jobs were open"] = now
        if was and not now:
            st.rerun(scope="app")


def _all_mine(state: str, mine: list[Job]) -> None:
    """Show one button that cancels the visitor's queued jobs, or deletes their failed or cancelled ones."""
    if len(mine) < 2 or state not in ("queued", "failed", "cancelled"):
        return
    word, act = ("Cancel", ledger().cancel) if state == "queued" else ("Delete", ledger().delete)
    if st.button(f"{word} all {len(mine)} of yours", key=f"all {state}", type="tertiary"):
        with show_errors():
            for job in mine:
                act(job.id, owner())
            st.rerun(scope="app")


def _row(job: Job) -> None:
    with st.container(border=True, key=f"job {job.id[:PREFIX]}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(STATES[job.state], icon=ICONS[job.state], color=COLORS[job.state])
            st.markdown(plain(job.title), width="stretch")
            _actions(job)
        which = f"`{job.id[:6]}` · {'yours · ' if owner() in job.owners else ''}{details(job)}"
        if job.state == "running":
            st.progress(min(max(job.fraction, 0.0), 1.0), text=f"{which}{when(job)}")
        else:
            st.caption(f"{which}{when(job)}")
        if job.state == "failed":
            failure(job)


def _open_study(job: Job) -> None:
    """Show a link to the page of the study's run; nothing where another version of the program submitted it."""
    try:
        request = from_json(json.dumps(job.request))
    except MergescopeError:
        return
    if isinstance(request, StudyRequest):
        study = find_study(request.study)
        settings = {name: str(request.settings.get(name, "")) for name in ADDRESSED}
        params = {name: text for name, text in settings.items() if text}
        if request.other is not None:
            sha256 = request.other.sha256
            beside = next((id for id, entry in entries().items() if entry.sha256 == sha256), "")
            params |= {study.other_parameter: beside} if beside else {}
        run = request.merge.id[:PREFIX]
        link(study.page, "Open", run=run, icon=":material/open_in_new:", **params)


def _actions(job: Job) -> None:
    kind = kinds()[job.kind]
    if job.kind == "study":
        _open_study(job)
    elif kind.page_parameter:
        link(kind.page, "Open", icon=":material/open_in_new:", **{kind.page_parameter: job.id[:PREFIX]})
    elif kind.page:
        link(kind.page, screen(kind.page).title, icon=":material/open_in_new:")
    if job.open and owner() in job.owners:
        cancel_button(job, f"cancel {job.id[:PREFIX]}")
    elif owner() in job.owners and st.button("Delete", key=f"delete {job.id[:PREFIX]}", icon=":material/delete:"):
        with show_errors():
            ledger().delete(job.id, owner())
            st.rerun(scope="app")
