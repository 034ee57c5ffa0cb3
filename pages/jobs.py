"""Runs page: running, waiting and finished jobs, and the workers."""

from __future__ import annotations

import streamlit as st

from ui.runs.job_rows import example_merges, example_rows, job_list
from ui.runs.run_search import run_search
from ui.runs.workers import worker_lines
from ui.shell.look import show_table
from ui.shell.state import ledger, owner

SCREEN = {"title": "Runs", "icon": ":material/list_alt:", "order": 40, "menu": True}

st.markdown("### Runs", anchors=False)
job_list(run_search())
st.markdown("**Workers**")
lines = worker_lines(ledger().workers())
if lines:
    show_table(lines, alt="Workers with their device, current job and memory")
    if all(line["GPU memory"] == "no GPU" for line in lines):
        st.caption("No GPU was found: all work is done on the CPU, which takes longer.")
else:
    st.caption(
        "No worker has reported in the last half minute. After the app starts, a worker needs about ten seconds."
    )
st.caption(
    f"Your identifier on this server is `{owner()}`. If you need more open jobs than the limit allows, send this "
    "identifier to the server's operator, who can add it to the environment variable MERGESCOPE_TEACHERS."
)
if example_merges():
    st.markdown("**Finished examples that come with the program**")
    example_rows()
