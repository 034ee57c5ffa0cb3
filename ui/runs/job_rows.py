"""Rows of the page Runs: one row per job with its actions, and one per shipped example."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from typing import Literal
from urllib.parse import parse_qsl

import streamlit as st

from merging.errors import MergescopeError
from merging.figures.many.runs import MOST_RUNS
from merging.jobs.ledger.jobs import Job
from merging.jobs.requests.registry import from_json, kinds
from merging.jobs.requests.study import StudyRequest
from merging.jobs.search import Found, Search, search, without_key
from merging.studies.registry import find_study
from merging.text import numbers
from ui.panels.side_panel import LEAST
from ui.runs.progress import cancel_button, failure, progress_words
from ui.runs.run_menu import run_menu, star_button
from ui.runs.run_search import narrowed
from ui.shell.chosen import PREFIX
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.shell.screens import link, screen
from ui.shell.state import entries, ledger, owner, with_own_names
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
ADDRESSED = ("layer", "pair", "row", "column")  # settings of a study that a link to its page carries
ENDED = ("done", "failed", "cancelled")
EXAMPLE = "example "  # in the key of a box of an example
GROUPS = {"Running": ("running",), "Waiting": ("queued",), "Finished": ENDED}  # title -> states of its jobs


def job_list(conditions: Search) -> None:
    """Show the jobs of a search. The list refreshes while one of them is open."""
    is_open = any(run.job.open for run in found(conditions, SHOWN)[0])
    st.fragment(_list, run_every=EVERY if is_open else None)(conditions)


def found(conditions: Search, limit: int) -> tuple[list[Found], bool]:
    """Return at most `limit` jobs of a search that the visitor may see, and whether there are more."""
    runs = search(ledger(), conditions, owner(), limit + 1)
    named = with_own_names(run.job for run in runs)
    return [replace(run, job=job) for run, job in zip(runs[:limit], named, strict=False)], len(runs) > limit


def when(job: Job) -> str:
    """Progress of an open job, or when it ended and how long it took, in one line."""
    if job.open:
        return progress_words(job)
    duration = f" · took {numbers.duration(job.finished - job.started)}" if job.finished and job.started else ""
    ended = job.finished or job.created
    return f"{numbers.date(ended, _zone())} ({numbers.ago(ended)}){duration}"


def details(run: Found) -> str:
    """Seed, images, points, accuracy and barrier of a merge; "" for other kinds."""
    if run.job.kind != "merge":
        return ""
    request = run.job.request
    if not {"seed", "images", "points"} <= request.keys():  # another version of the program submitted it
        return ""
    figures = [f"**accuracy {numbers.accuracy(run.accuracy)}**"] if run.accuracy is not None else []
    figures += [f"**barrier {numbers.loss(run.barrier)}**"] if run.barrier is not None else []
    texts = [f"seed {request['seed']}", f"{numbers.count(request['images'])} images", f"{request['points']} points"]
    return "".join(f"{text} · " for text in (*figures, *texts))


def nothing_here(conditions: Search) -> str:
    """Why a list of jobs is empty, and what to do."""
    if not ledger().jobs(limit=1):
        return "No jobs yet. Press *Run merge* on the page Merge."
    if conditions.archived:
        return "You have archived none of these jobs. *More* beside a run archives it."
    if narrowed(conditions):
        return "No job fits this search. Use fewer words or conditions."
    return "There are no jobs of these kinds. Choose other kinds above to see more."


def _list(conditions: Search) -> None:
    with show_errors():
        limit = SHOWN * int(st.session_state.get("pages of runs", 1))
        runs, more = found(conditions, limit)
        if not runs:
            st.info(nothing_here(conditions), icon=":material/list_alt:")
        _side_by_side([*(run.job for run in runs), *example_merges()])
        together = _states(runs)
        for title, states in GROUPS.items():
            group = [run for run in runs if together[run.job.id] in states]
            if group:
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.markdown(f"**{title}** :gray[{len(group)}]", width="content")
                    _all_mine([run.job for run in group if owner() in run.job.owners], title)
            if states != ENDED:
                group.sort(key=lambda run: run.job.position)
            _rows(group)
        if more and st.button("Show more", icon=":material/expand_more:"):
            st.session_state["pages of runs"] = 1 + st.session_state.get("pages of runs", 1)
            st.rerun()
        was, now = st.session_state.get("jobs were open"), any(run.job.open for run in runs)
        st.session_state["jobs were open"] = now
        if was and not now:
            st.rerun(scope="app")


def example_merges() -> list[Job]:
    """The finished merges that come with the program."""
    return [job for job in ledger().examples() if job.kind == "merge"]


def example_rows() -> None:
    """Show one row per finished example."""
    for job in example_merges():
        with st.container(horizontal=True, vertical_alignment="center"):
            _box(job, EXAMPLE)
            link("merge", job.title, run=job.id[:PREFIX], icon=":material/science:")


def _states(runs: list[Found]) -> dict[str, str]:
    """Id of each job -> its state; for a part of a comparison the first of GROUPS that any of its parts has."""
    order = [state for states in GROUPS.values() for state in states]
    of_batch: dict[str, str] = {}
    for run in runs:
        batch, state = without_key(run.batch), run.job.state
        if batch:
            of_batch[batch] = min(state, of_batch.get(batch, state), key=order.index)
    return {run.job.id: of_batch.get(without_key(run.batch), run.job.state) for run in runs}


def _box(job: Job, place: str = "") -> None:
    """Draw the box that selects a finished merge. place: EXAMPLE for an example, which may stand in the list, too."""
    st.checkbox("Select", key=f"pick {place}{job.id[:PREFIX]}", label_visibility="collapsed", width="content")


def _side_by_side(jobs: list[Job]) -> None:
    """Draw the link that shows the selected runs side by side."""
    merges = list(dict.fromkeys(job.id[:PREFIX] for job in jobs if _comparable(job)))
    selected = [
        short for short in merges if any(st.session_state.get(f"pick {place}{short}") for place in ("", EXAMPLE))
    ]
    if not selected:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if LEAST <= len(selected) <= MOST_RUNS:
            label = f"Show {len(selected)} runs side by side"
            st.page_link(
                screen("side"), label=label, icon=":material/view_week:", query_params={"runs": ",".join(selected)}
            )
        else:
            st.caption(f"{len(selected)} selected. Select {LEAST} to {MOST_RUNS} runs to see them side by side.")


def _comparable(job: Job) -> bool:
    return job.kind == "merge" and job.state == "done"


def _rows(runs: list[Found]) -> None:
    """Draw one row per run; the runs of a comparison are one row that opens."""
    batches = Counter(without_key(run.batch) for run in runs)
    drawn = set[str]()
    for run in runs:
        batch = without_key(run.batch)
        if batches[batch] < 2 or not batch:
            _row(run)
        elif batch not in drawn:
            drawn.add(batch)
            _comparison([one for one in runs if without_key(one.batch) == batch])


def _comparison(runs: list[Found]) -> None:
    job, batch = runs[0].job, runs[0].batch
    networks = plain(job.title.split(": ")[0])
    ended = sum(not run.job.open for run in runs)
    so_far = f" · {ended} of {len(runs)} ended" if ended < len(runs) else ""
    label = f"Comparison of {len(runs)} merges, such as {networks}{so_far} · {numbers.date(job.created, _zone())}"
    short = hashlib.sha256(without_key(batch).encode()).hexdigest()[:PREFIX]
    box = st.expander(label, icon=":material/leaderboard:", key=f"batch {short}", on_change="rerun")
    if not box.open:
        return
    with box:
        link("compare", "Open on Compare", icon=":material/open_in_new:", **dict(parse_qsl(batch)))
        for run in runs:
            _row(run)


def _all_mine(mine: list[Job], group: str) -> None:
    """Show a button that cancels the visitor's queued jobs of a group, or deletes their failed or cancelled ones."""
    queued = [job for job in mine if job.state == "queued"]
    useless = [job for job in mine if job.state in ("failed", "cancelled")]
    for word, act, jobs, what in (
        ("Cancel", ledger().cancel, queued, ""),
        ("Delete", ledger().delete, useless, " that failed or were cancelled"),
    ):
        if len(jobs) > 1 and st.button(
            f"{word} all {len(jobs)} of yours{what}", key=f"all {word} {group}", type="tertiary"
        ):
            with show_errors():
                for job in jobs:
                    act(job.id, owner())
                st.rerun(scope="app")


def _row(run: Found) -> None:
    job, mark, short = run.job, run.mark, run.job.id[:PREFIX]
    with st.container(border=True, key=f"job {short}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            if _comparable(job):
                _box(job)
            st.badge(STATES[job.state], icon=ICONS[job.state], color=COLORS[job.state])
            title = plain(job.title)
            st.markdown(f"**{plain(mark.name)}** · {title}" if mark.name else title, width="stretch")
            _actions(run)
        which = f"`{job.id[:6]}` · {'yours · ' if owner() in job.owners else ''}{details(run)}"
        if job.state == "running":
            st.progress(min(max(job.fraction, 0.0), 1.0), text=f"{which}{when(job)}")
        else:
            st.caption(f"{which}{when(job)}")
        if mark.note:
            st.caption(f":material/sticky_note_2: {plain(mark.note)}")
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


def _actions(run: Found) -> None:
    job, kind = run.job, kinds()[run.job.kind]
    if job.kind == "study":
        _open_study(job)
    elif kind.page_parameter:
        link(kind.page, "Open", icon=":material/open_in_new:", **{kind.page_parameter: job.id[:PREFIX]})
    elif kind.page:
        link(kind.page, screen(kind.page).title, icon=":material/open_in_new:")
    if job.open and owner() in job.owners:
        cancel_button(job, f"cancel {job.id[:PREFIX]}")
    star_button(run)
    run_menu(run)


def _zone() -> str | None:
    """The visitor's time zone, as an IANA name."""
    zone = st.context.timezone
    return zone if isinstance(zone, str) else None
