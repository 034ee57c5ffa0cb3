"""Studies of the displayed run: a study's result (its finding), or its state with a button that submits it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import streamlit as st

from merging.errors import InvalidRequest
from merging.jobs.ledger.jobs import Job
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.study import StudyRequest
from merging.studies.registry import find_study, load_finding
from merging.text import numbers
from merging.zoo.catalogue import Entry, why_not_together
from ui.runs.downloads import lacks_networks, make_here
from ui.runs.progress import failure, watch
from ui.shell.address import said
from ui.shell.chosen import Chosen, request_of
from ui.shell.guard import show_errors
from ui.shell.kept import kept
from ui.shell.markdown import plain
from ui.shell.state import entries, find_job, ledger, submit


def studied(
    found: Chosen,
    key: str,
    settings: dict[str, Any] | None = None,
    *,
    button: str = "Measure",
    at_once: bool = False,
    other: Entry | None = None,
) -> Any | None:
    """Return the finding of study `key` of the chosen run; None after showing the study's state instead.

    Args:
        found: the chosen run.
        key: key of the study.
        settings: settings of the study, as for `StudyRequest`.
        button: label of the button that submits the study.
        at_once: submit without a button, because an earlier click already asked for the study.
        other: a network in addition to the merged ones.
    """
    if found.job is None:
        return None
    try:
        beside = ModelRef.of(other) if other else None
        request = _asking(request_of(found.job), key, settings, beside)
    except InvalidRequest as error:
        st.info(plain(str(error)), icon=":material/image_not_supported:")
        return None
    job = find_job(request.id)
    if job is not None and job.state == "done":
        finding = _finding(job)
        if finding is not None:
            return finding
    if job is None and at_once and not lacks_networks(found.job):
        with show_errors():
            job = submit(request)
    if job is not None and job.open:
        watch(job)
        return None
    if job is not None and job.state == "failed":
        failure(job)
    _offer(found.job, request, "Try again" if job is not None and job.state == "failed" else button)
    return None


def choose_other(found: Chosen, label: str, no_other: str, key: str) -> Entry | None:
    """Show a menu of networks that fit the run's but were not merged; return the selected one.

    The first option, labelled `no_other`, returns None.
    """
    merged = request_of(found.job).models if found.job is not None else ()
    every = entries()
    first = next((entry for entry in every.values() if merged and entry.sha256 == merged[0].sha256), None)
    merged_hashes = {model.sha256 for model in merged}
    fitting = {
        id: entry
        for id, entry in every.items()
        if first is not None and entry.sha256 not in merged_hashes and not why_not_together(first, entry)
    }
    names = {"": no_other, **{id: entry.name for id, entry in fitting.items()}}
    current = said(key)
    at = list(names).index(current) if current in names else 0
    selected = st.selectbox(label, list(names), at, format_func=names.__getitem__, key=f"choose {key}", width=300)
    if selected:
        st.query_params[key] = selected  # so that a link to this page makes the same selection
    else:
        st.query_params.pop(key, None)
    return every.get(selected)


def known(found: Chosen, key: str, settings: dict[str, Any] | None = None) -> Any | None:
    """Return the finding of a study, None if the study is not finished; draw nothing."""
    if found.job is None:
        return None
    try:
        job = ledger().job(_asking(request_of(found.job), key, settings).id)
    except InvalidRequest:
        return None
    return _finding(job) if job is not None and job.state == "done" else None


def _asking(
    merge: MergeRequest, key: str, settings: dict[str, Any] | None, other: ModelRef | None = None
) -> StudyRequest:
    if other is not None:
        return StudyRequest(merge, key, settings or {}, other=other)
    return kept(_asking_alone, merge, key, json.dumps(settings or {}))


def _asking_alone(merge: MergeRequest, key: str, settings: str) -> StudyRequest:
    return StudyRequest(merge, key, json.loads(settings))


def _offer(merge: Job, request: StudyRequest, button: str) -> None:
    with st.container(border=True, key=f"ask {request.id[:12]}"):
        st.markdown(f"{find_study(request.study).summary} :gray[{_usual(request)}]")
        if lacks_networks(merge):
            make_here(merge, f"make {request.id[:12]}")
        elif st.button(button, key=f"study {request.id[:12]}", type="primary", icon=":material/science:"):
            with show_errors():
                submit(request, again=True)
                st.rerun(scope="app")


def _usual(request: StudyRequest) -> str:
    """Usual duration of such a study, from similar finished ones."""
    spent = sum(ledger().expected(request).values())
    return f"Takes {numbers.about(spent)}." if spent else ""


def _finding(job: Job) -> Any | None:
    return _loaded(str(ledger().folder), job.id, job.finished or 0.0)


@lru_cache(maxsize=64)
def _loaded(folder: str, job_id: str, finished: float) -> Any | None:
    data = ledger().artifact(job_id, "finding")
    return None if data is None else load_finding(data)
