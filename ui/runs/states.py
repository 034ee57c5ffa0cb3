"""States of a page without a finished run to show: empty, open, failed, cancelled, gone."""

from __future__ import annotations

import streamlit as st

from merging.jobs.requests.merge import MergeRequest
from ui.runs.progress import failure, watch
from ui.runs.run_bar import again, run_bar
from ui.shell.chosen import Chosen, chosen, remembered, request_of
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.shell.screens import link


def needs_result(here: str) -> Chosen | None:
    """Draw the run bar of the chosen run and return the run with its report; None after showing another state."""
    found = chosen()
    if found.job is None:
        nothing(found, here)
        return None
    run_bar(found.job, found.report, here)
    if found.report is None:
        unfinished(found)
        return None
    count = len(request_of(found.job).models)
    if count > 2 and here != "method":
        st.caption(f"{count} networks were merged. This page shows A, B and the merge of all of them.")
    return found


def nothing(found: Chosen, here: str) -> None:
    """Show why there is no run to show."""
    if found.trouble:
        st.warning(f"The run {plain(found.short)} cannot be shown. {plain(found.trouble)}", icon=":material/history:")
        _ask_again(found)
    elif found.gone:
        gone(found, here)
    else:
        empty(here)


def empty(here: str = "") -> None:
    """Show the next step where there is neither a run nor an example."""
    with st.container(border=True):
        if here == "merge":
            st.markdown("**No run yet.** Pick two networks and press *Run merge*. The result appears here.")
            return
        st.markdown("**No run chosen yet.** Pick two networks on Merge and press *Run merge*.")
        link("merge", "Go to Merge", icon=":material/merge:")


def gone(found: Chosen, here: str = "") -> None:
    """Show that the run in the address is missing; offer to run it again where its request is remembered."""
    with st.container(border=True):
        away = "It was deleted, or another installation made it."
        st.markdown(f"**The run {plain(found.short)} is not here.** {away}")
        if not _ask_again(found) and here != "merge":
            link("merge", "Start a new run on Merge", icon=":material/merge:")
        if st.button("Show the example", icon=":material/science:"):
            st.session_state.pop("run", None)
            st.query_params.clear()
            st.rerun()


def unfinished(found: Chosen) -> None:
    """Show a run that is queued, running, failed or cancelled, or whose result is no longer stored."""
    job = found.job
    if job is None:
        return
    if job.open:
        watch(job)
        return
    if job.state == "failed":
        failure(job)
    elif job.state == "cancelled":
        st.info("This run was cancelled.", icon=":material/cancel:")
    else:
        st.warning("The result of this run is no longer stored. Run it again.", icon=":material/history:")
    if st.button("Run it again", key="retry", icon=":material/replay:"):
        with show_errors():
            again(request_of(job))
            st.rerun()


def _ask_again(found: Chosen) -> bool:
    """Show a button that submits the run again if its request is remembered; return whether it is remembered."""
    request = remembered(found.asked)
    if not isinstance(request, MergeRequest):
        return False
    if st.button("Run it again", key="ask again", type="primary", icon=":material/replay:"):
        with show_errors():
            again(request)
            st.rerun()
    return True
