"""Buttons that run a merge again with another method, where it leaves a barrier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from merging.methods.registry import find
from merging.results.reports import MergeReport
from merging.text.next_steps import NextStep, next_steps
from merging.text.reading import Reading
from ui.runs.run_bar import again
from ui.shell.chosen import Chosen, request_of
from ui.shell.guard import show_errors
from ui.shell.kept import kept
from ui.shell.screens import go


def offer_next_steps(report: MergeReport, found: Chosen) -> None:
    """Show a button for everything that the verdict advises to try. A click runs it and shows the new run."""
    steps = kept(_steps, report) if report.curves else ()
    if found.job is None or not steps:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        for step in steps:
            label = find(step.role, step.key).label
            words = f"Correct with {label}" if step.role == "correct" else f"Align by {label}"
            if st.button(words, key=f"next {step.role} {step.key}", icon=":material/arrow_forward:"):
                with show_errors():
                    request = request_of(found.job)
                    settings = {role: values for role, values in request.settings.items() if role != step.role}
                    changed: dict[str, Any] = {step.role: step.key, "settings": settings}
                    again(replace(request, **changed))
                    go("merge", run=st.session_state["run"])


def _steps(report: MergeReport) -> tuple[NextStep, ...]:
    return next_steps(Reading(report))
