"""A job on its way: place in the queue, stages in words, percent, time left, cancel; and how it can end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from merging.jobs.ledger.jobs import Job
from merging.jobs.requests.registry import kinds
from merging.text import numbers
from ui.shell.guard import in_words
from ui.shell.markdown import plain
from ui.shell.state import ledger, owner

EVERY = 2.0  # seconds between two looks at an open job
Waiting = Callable[[int], None]  # told how many files of others go first
PATIENCE = 60.0  # seconds after which a missing worker is no longer one that starts


def watch(job: Job) -> None:
    """The panel of an open job, looked at again every two seconds until it ends; then the page is drawn anew."""
    st.fragment(_panel, run_every=EVERY)(job.id)


def progress_words(job: Job) -> str:
    """Where the job is, in one line."""
    if job.state == "queued":
        words = f"Waiting, {numbers.ordinal(max(job.position, 1))} in the queue"
    else:
        stage = kinds()[job.kind].stage_words(job.request).get(job.stage, job.stage or "Starting")
        words = f"{stage} · {100 * job.fraction:.0f} %"
    if job.eta is None:
        return words
    return f"{words} · {numbers.about(job.eta)} left"


def stage_lines(job: Job) -> list[str]:
    """One Markdown line a stage: done with its seconds, running with its message, or still to come."""
    passed = {stage: seconds for stage, _, seconds in job.stages}
    lines = []
    for stage, words in kinds()[job.kind].stage_words(job.request).items():
        if job.state == "running" and stage == job.stage:
            detail = f": {plain(job.message)}" if job.message else ""
            lines.append(f":material/pending: **{words}**{detail}")
        elif stage in passed:
            lines.append(f":green[:material/check_circle:] {words} :gray[{numbers.duration(passed[stage])}]")
        else:
            lines.append(f":gray[:material/radio_button_unchecked: {words}]")
    return lines


@contextmanager
def reading(what: str) -> Iterator[Waiting]:
    """A spinner while a file is read; gives what is to be told how many files of others go first."""
    place = st.empty()

    def tell(before: int) -> None:
        place.caption(f"Other files are read first: yours is {numbers.ordinal(before)} in the queue.")

    with st.spinner(what):
        yield tell
    place.empty()


def failure(job: Job) -> None:
    """Why a job failed, what one can do, and the details to copy."""
    error = job.error or {"kind": "", "text": "It failed without saying why."}
    st.error(f"**This run failed.** {plain(error['text'])}", icon=":material/error:")
    with st.expander("Copy details", icon=":material/content_copy:"):
        lines = [f"run {job.id}", job.title, f"stage {job.stage or '-'}, attempt {job.attempts}"]
        st.code(
            "\n".join([*lines, f"{error['kind']}: {error['text']}", error.get("details", "")]).strip(), language=None
        )


def cancel_button(job: Job, key: str) -> None:
    """Cancel, for those who asked for the job."""
    if owner() not in job.owners:
        st.caption("Somebody else asked for this run; only they can cancel it.")
    elif st.button("Cancel", key=key, icon=":material/cancel:"):
        with in_words():
            ledger().cancel(job.id, owner())
            left = ledger().job(job.id)
            if left is not None and left.open:
                st.toast("You withdrew; it goes on, for somebody else asked for it too.", icon=":material/group:")
            st.rerun(scope="app")


def no_worker(waited: float) -> str:
    """What is to be said while no worker shows itself. waited: seconds."""
    if waited < PATIENCE:
        return "No worker has told of itself yet. One starts with the app and needs about ten seconds."
    return "No worker could be started. The window in which Mergescope was started says why; start it there again."


def _panel(job_id: str) -> None:
    with in_words():
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
        if job.state == "queued" and not ledger().workers():
            st.caption(no_worker(time.time() - job.created))
        if job.attempts > (job.state == "running"):
            st.caption("The worker died on this job; it is begun anew.")
        cancel_button(job, f"cancel {job.id[:12]}")
