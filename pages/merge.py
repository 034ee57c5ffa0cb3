"""Merge page, the first screen: the form on the left, the result on the right, three presets below."""

from __future__ import annotations

import streamlit as st

from ui.forms.merge_form import fill_once, merge_form
from ui.forms.presets import cards, open_wanted
from ui.panels.merge_panel import result
from ui.runs.run_bar import again, run_bar
from ui.runs.states import nothing, unfinished
from ui.shell.chosen import chosen, request_of
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.shell.state import find_job, merge_report

SCREEN = {"title": "Merge", "icon": ":material/merge:", "order": 10, "menu": True, "tab": "Curve"}

with show_errors():
    open_wanted()
run = chosen()
fill_once(request_of(run.job) if run.job else None, run.short)
st.markdown(
    "Two networks can learn the same task equally well, yet the average of their weights often fails. **Mergescope "
    "merges networks and shows what happens** to the accuracy, to the layers and to each neuron."
)


@st.fragment
def form() -> None:
    """Draw the form as a fragment: its widgets re-run without redrawing the charts beside them."""
    with show_errors():
        request = merge_form()
        if request is not None:
            again(request)
            st.toast("Merge queued. Progress is shown beside the form, at the top.", icon=":material/play_arrow:")
            st.rerun(scope="app")


with st.container(key="screen"):
    left, right = st.columns([4, 9], gap="medium")
with left.container(border=True):
    st.subheader("Two networks", anchor=False)
    form()
with right:
    if run.job is not None:
        run_bar(run.job, run.report, "merge")
    if run.report is not None:
        with st.container(key="result"):
            result(run.report, run)
    elif run.job is not None:
        unfinished(run)
        previous = find_job(st.session_state.get("last_done", ""))
        report = merge_report(previous) if previous is not None and previous.id != run.job.id else None
        if previous is not None and report is not None:
            st.caption(f"The previous result: {plain(previous.title)}")
            with st.container(key="dimmed"):
                result(report, key=" old")
    else:
        nothing(run, "merge")
cards()
