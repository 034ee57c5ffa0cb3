"""Controls that choose which runs the page Runs lists. All of them stand in the page's address."""

from __future__ import annotations

import time

import streamlit as st

from merging.jobs.requests.registry import kinds
from merging.jobs.search import Order, Search
from merging.methods.registry import ROLES, table
from merging.zoo.datasets.known import known_datasets
from ui.shell.markdown import plain
from ui.shell.state import owner

PARTS = "parts"  # beside the kinds: trainings and merges that only sweeps requested
KINDS = {key: kind.plural for key, kind in kinds().items()} | {PARTS: "parts of sweeps"}
ASKED = [key for key, kind in kinds().items() if kind.by_button]  # pages of a run submit jobs of the other kinds
WHOSE = {"everybody's": "", "mine": "mine"}
DAYS = {"any time": None, "today": 1, "last 7 days": 7, "last 30 days": 30}
SORTED: dict[str, Order] = {
    "newest first": "newest",
    "oldest first": "oldest",
    "best accuracy first": "accuracy",
    "smallest barrier first": "barrier",
    "by name": "name",
}
STARRED, ARCHIVED = "starred", "archived"
ANY = "any"
LONGEST = 200  # characters of a search


def run_search() -> Search:
    """Draw the controls; return what they ask for."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Search", key="q", max_chars=LONGEST, placeholder="network, method, name, note or id", bind="query-params",
            icon=":material/search:", width=320,
        )  # fmt: skip
        whose = st.segmented_control("Whose", list(WHOSE), default="everybody's", key="whose", required=True,
                                     bind="query-params")  # fmt: skip
        only = st.pills("Only", [STARRED, ARCHIVED], selection_mode="multi", key="only", bind="query-params")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        datasets, methods = _datasets(), _methods()
        dataset = st.selectbox("Data set", list(datasets), key="dataset", bind="query-params", width=180)
        method = st.selectbox("Method", list(methods), key="method", bind="query-params", width=220)
        days = st.selectbox("Submitted", list(DAYS), key="days", bind="query-params", width=140)
        order = st.selectbox("Order", list(SORTED), key="order", bind="query-params", width=210)
    wanted = st.pills("Kinds", list(KINDS), format_func=KINDS.__getitem__, default=ASKED, selection_mode="multi",
                      key="kinds", bind="query-params")  # fmt: skip
    span = DAYS.get(days or "any time")
    return Search(
        text=(text or "")[:LONGEST],
        owner=owner() if whose == "mine" else "",
        kinds=tuple(key for key in wanted or kinds() if key != PARTS) or tuple(kinds()),
        parts=PARTS in (wanted or ()),
        dataset=datasets.get(dataset or ANY, ""),
        method=methods.get(method or ANY),
        since=0.0 if span is None else time.time() - 86_400 * span,
        starred=STARRED in (only or ()),
        archived=ARCHIVED in (only or ()),
        order=SORTED.get(order or "", "newest"),
    )


def narrowed(conditions: Search) -> bool:
    """Whether the search leaves out jobs of its kinds, apart from archived ones."""
    return conditions != Search(kinds=conditions.kinds, order=conditions.order)


def _datasets() -> dict[str, str]:
    """Label -> name of the data sets that the visitor may use."""
    return {ANY: ""} | {plain(facts.label): name for name, facts in known_datasets(owner()).items()}


def _methods() -> dict[str, tuple[str, str] | None]:
    """Label -> (role, key) of every method."""
    labels: dict[str, tuple[str, str] | None] = {ANY: None}
    for role in ROLES:
        labels |= {f"{role}: {method.label}": (role, key) for key, method in table(role).items()}
    return labels
