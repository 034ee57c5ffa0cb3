"""Progress of an open job (position in the queue, stages, percent, time left, cancel), and the report of a failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from merging.figures.path_point import growing_figure
from merging.jobs.ledger.jobs import Job
from merging.jobs.requests.registry import kinds
from merging.text import numbers
from ui.shell.guard import show_errors
from ui.shell.look import draw
from ui.shell.markdown import plain
from ui.shell.state import ledger, owner

EVERY = 2.0  # seconds between two refreshes of an open job
Waiting = Callable[[int], None]  # called with the number of files that are read before this one
STAYS = "Your request is cancelled. The run continues because someone else requested it too."
PATIENCE = 60.0  # seconds after which a worker that has not reported counts as failed


def watch(job: Job) -> None:
    """Show the panel of an open job. It refreshes every two seconds; when the job ends, the whole page is redrawn."""
    st.fragment(_panel, run_every=EVERY)(job.id)


def progress_words(job: Job) -> str:
    """State of an open job in one line: position in the queue, or stage and percent, and the time left."""
    if job.state == "queued":
        words = f"Waiting, {numbers.ordinal(max(job.position, 1))} in the queue"
    else:
        stage = kinds()[job.kind].stage_words(job.request).get(job.stage, job.stage or "Starting")
        words = f"{stage} · {100 * job.fraction:.0f} %"
    if job.eta is None:
        return words
    return f"{words} · {numbers.about(job.eta)} left"


def stage_lines(job: Job) -> list[str]:
    """One Markdown line per stage: done with its duration, running with its message, or still to come."""
    finished = {stage: seconds for stage, _, seconds in job.stages}
    lines = []
    for stage, words in kinds()[job.kind].stage_words(job.request).items():
        if job.state == "running" and stage == job.stage:
            detail = f": {plain(job.message)}" if job.message else ""
            lines.append(f":material/pending: **{words}**{detail}")
        elif stage in finished:
            lines.append(f":green[:material/check_circle:] {words} :gray[{numbers.duration(finished[stage])}]")
        else:
            lines.append(f":gray[:material/radio_button_unchecked: {words}]")
    return lines


@contextmanager
def reading(what: str) -> Iterator[Waiting]:
    """Show a spinner while a file is read; yield a function that shows how many other files are read first."""
    place = st.empty()

    def tell(before: int) -> None:
        place.caption(f"Other files are read first. Yours is {numbers.ordinal(before)} in the queue.")

    with st.spinner(what):
        yield tell
    place.empty()


def failure(job: Job) -> None:
    """Show why a job failed, and the details to copy."""
    error = job.error or {"kind": "", "text": "No reason was recorded."}
    st.error(f"**This run failed.** {plain(error['text'])}", icon=":material/error:")
    with st.expander("Copy details", icon=":material/content_copy:"):
        lines = [f"run {job.id}", job.title, f"stage {job.stage or '-'}, attempt {job.attempts}"]
        st.code(
            "\n".join([*lines, f"{error['kind']}: {error['text']}", error.get("details", "")]).strip(), language=None
        )


def cancel_button(job: Job, key: str) -> None:
    """Show a Cancel button to the people who requested the job."""
    if owner() not in job.owners:
        st.caption("Someone else requested this run. Only they can cancel it.")
    elif st.button("Cancel", key=key, icon=":material/cancel:"):
        with show_errors():
            ledger().cancel(job.id, owner())
            remaining = ledger().job(job.id)
            if remaining is not None and remaining.open:
                st.toast(STAYS, icon=":material/group:")
            st.rerun(scope="app")


def no_worker(waited: float) -> str:
    """Message while no worker has reported. waited: seconds since the job was submitted."""
    if waited < PATIENCE:
        return "No worker has reported yet. After the app starts, a worker needs about ten seconds."
    return "No worker could be started. The terminal that runs Mergescope shows the reason. Restart Mergescope there."


def _panel(job_id: str) -> None:
    with show_errors():
        _look(job_id)


def _look(job_id: str) -> None:
    job = ledger().job(job_id)
    if job is None or not job.open:
        st.rerun(scope="app")
        return
    kind = "studying" if job.kind == "study" else "progress"
    with st.container(border=True, key=f"{kind} {job.id[:12]}"):
        st.progress(min(max(job.fraction, 0.0), 1.0), text=progress_words(job))
        st.markdown("  \n".join(stage_lines(job)))
        points = ledger().points(job.id) if job.state == "running" else ()
        if points:
            draw(growing_figure(points), f"growing {job.id[:12]}", "loss-so-far", width="stretch")
        if job.state == "queued" and not ledger().workers():
            st.caption(no_worker(time.time() - job.created))
        if job.attempts > (job.state == "running"):
            st.caption("A worker died during this job. The job starts again from the beginning.")
        cancel_button(job, f"cancel {job.id[:12]}")
