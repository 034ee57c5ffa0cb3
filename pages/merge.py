"""The first screen: two networks on the left, what happened half-way on the right, three presets beneath."""

from __future__ import annotations

import streamlit as st

from ui.forms.merge_form import fill_once, merge_form
from ui.forms.presets import cards, open_wanted
from ui.panels.merge_panel import result
from ui.runs.run_bar import again, run_bar
from ui.runs.states import nothing, unfinished
from ui.shell.chosen import chosen, request_of
from ui.shell.guard import in_words
from ui.shell.markdown import plain
from ui.shell.state import ledger, merge_report

with in_words():
    open_wanted()
found = chosen()
fill_once(request_of(found.job) if found.job else None, found.short)
st.markdown(
    "Two networks can learn the same task equally well and still not mix: average their weights, and the result often "
    "fails. **Mergescope merges networks and shows what happened** to the accuracy, to the layers and to each neuron."
)


@st.fragment
def form() -> None:
    """Widgets re-run on their own, so that the charts beside them stay as they are."""
    with in_words():
        request = merge_form()
        if request is not None:
            again(request)
            st.toast("Asked for: its progress is beside the form, at the top.", icon=":material/play_arrow:")
            st.rerun(scope="app")


with st.container(key="screen"):
    left, right = st.columns([4, 9], gap="medium")
with left.container(border=True):
    st.subheader("Two networks", anchor=False)
    form()
with right:
    if found.job is not None:
        run_bar(found.job, found.report, "merge")
    if found.report is not None:
        result(found.report)
    elif found.job is not None:
        unfinished(found)
        old = ledger().job(st.session_state.get("last_done", ""))
        report = merge_report(old) if old is not None and old.id != found.job.id else None
        if old is not None and report is not None:
            st.caption(f"The result before this one: {plain(old.title)}")
            with st.container(key="dimmed"):
                result(report, key=" old")
    else:
        nothing(found, "merge")
cards()
