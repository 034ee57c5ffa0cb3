"""Result of a partial zip (ZipIt!): up to which layer networks can share a trunk, and how accurate each head stays."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from merging.figures.heads import heads_figure
from merging.jobs.ledger.jobs import Job
from merging.jobs.requests.comparison import csv_text
from merging.jobs.requests.zip_networks import ZipRequest
from merging.naming import letter
from merging.results import saving
from merging.results.zip_report import ZipReport
from merging.text.reproduce import zip_command, zip_snippet
from merging.text.verdicts.zip import zip_headline, zip_verdict
from ui.runs.progress import failure, watch
from ui.shell.address import said
from ui.shell.chosen import PREFIX, from_json_of
from ui.shell.guard import show_errors
from ui.shell.kept import kept
from ui.shell.look import draw, show_table, unbroken
from ui.shell.markdown import plain
from ui.shell.screens import address
from ui.shell.state import data_label, find_job, ledger, submit, zip_report


def zip_result() -> None:
    """Show the partial zip in the address, else the example, else a note on what will be shown here."""
    job = _job()
    if job is None:
        with st.container(border=True):
            st.markdown(
                "**No partial zip yet.** Choose networks of one structure and press *Run partial zip*. A curve then "
                "shows the accuracy of every head for each layer at which the shared trunk can end."
            )
        return
    request = from_json_of(job)
    if not isinstance(request, ZipRequest):
        st.warning("The run in this address is not a partial zip.", icon=":material/link_off:")
        return
    _bar(job, request)
    if job.open:
        watch(job)
        return
    report = zip_report(job) if job.state == "done" else None
    if report is not None:
        _found(request, report)
        return
    if job.state == "failed":
        failure(job)
    else:
        st.info("This partial zip was cancelled, or its result is no longer stored.", icon=":material/cancel:")
    if st.button("Run it again", icon=":material/replay:"):
        with show_errors():
            submit(request)
            st.rerun()


def _job() -> Job | None:
    id = said("zip") or st.session_state.get("zip", "")
    job = find_job(id)
    if job is None:
        if id:
            st.caption(
                f"The partial zip {plain(id[:PREFIX])} is not here. It was deleted, or another installation made it."
            )
        return next((job for job in ledger().examples() if job.kind == "zip"), None)
    st.session_state["zip"] = st.query_params["zip"] = job.id[:PREFIX]
    return job


def _bar(job: Job, request: ZipRequest) -> None:
    with st.container(border=True, key="zipbar"):
        st.markdown(f"**Partial zip `{job.id[:6]}`**{' · example' if job.example else ''}  \n{_networks(request)}")
        with st.container(horizontal=True):
            with st.popover("Copy link", icon=":material/link:"):
                st.code(address("zip", zip=job.id[:PREFIX]), language=None, wrap_lines=True)
            with st.popover("Reproduce", icon=":material/terminal:"):
                st.code(zip_command(request), language="bash", wrap_lines=True)
                st.caption(
                    "With `--until LAYER --out zip.pt2` added, the command writes the zipped network to a file, which "
                    "`torch.export.load` reads without Mergescope."
                )
                st.code(zip_snippet(request), language="python")


def _networks(request: ZipRequest) -> str:
    return "  \n".join(
        f"{letter(number)}: {plain(model.name)} :gray[({plain(', '.join(model.classes))})]"
        for number, model in enumerate(request.models)
    )


def _found(request: ZipRequest, report: ZipReport) -> None:
    st.markdown(f"#### {unbroken(zip_headline(report))}", anchors=False)
    st.markdown(unbroken(zip_verdict(report)))
    draw(kept(heads_figure, report), "zip figure", "zip")
    alt = "The numbers of the figure per layer, and the share of parameters that remains."
    show_table(_rows(report), column_config=_config(report), alt=alt)
    reset = report.notes.get("reset")
    anew = f"BatchNorm statistics of all networks were re-estimated on {reset} training images. " if reset else ""
    method = f"ZipIt! with α {report.notes['alpha']:g} and β {report.notes['beta']:g}"
    st.caption(
        f"{method}, matched on {report.notes['images']} training images; measured on {report.images} test images of "
        f"{plain(data_label(request.dataset))}. Dotted lines show the networks before any merging. {anew}"
        f"Seed {request.seed}."
    )
    own = replace(report, request=json.loads(request.to_json()))  # with the visitor's names of their networks
    st.download_button(
        "Numbers (JSON)", lambda: saving.to_json(own), "zip.json", "application/json", on_click="ignore",
        icon=":material/download:",
    )  # fmt: skip


def _rows(report: ZipReport) -> list[dict[str, object]]:
    rows = []
    for place, layer in enumerate(report.layers):
        row: dict[str, object] = {"Trunk up to": layer}
        row |= {f"{name}'s head": 100 * report.heads[number, place] for number, name in enumerate(report.names)}
        row |= {"All together": 100 * report.joint[place]} if np.isfinite(report.beside) else {}
        rows.append({**row, "Parameters left": 100 * report.share[place]})
    return rows


def _config(report: ZipReport) -> dict[str, Any]:
    shares = [f"{name}'s head" for name in report.names] + ["All together", "Parameters left"]
    return {csv_text(name): st.column_config.NumberColumn(format="%.1f %%") for name in shares}
