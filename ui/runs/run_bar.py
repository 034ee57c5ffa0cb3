"""The bar at the top of every page that shows a run: its networks and methods, tabs to its pages, and actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

import streamlit as st
from streamlit.elements.lib.mutable_popover_container import PopoverContainer

from merging.jobs.ledger.jobs import Job
from merging.jobs.requests.merge import MergeRequest
from merging.methods.registry import ROLES, find
from merging.results.reports import MergeReport
from merging.text import numbers
from ui.forms.large_networks import on_images
from ui.runs.downloads import downloads
from ui.shell.chosen import PREFIX, look_at, other_version, remember, request_of
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.shell.screens import TABS, address, go, tabs
from ui.shell.state import data_label, ledger, owner, submit
from ui.shell.words import meaning

DOT = " · "  # between the parts of a network's name, such as its architecture, data set and seed
GOOD = 1e-6  # largest relative difference of outputs that a merge accepts
MIXED = (
    "The largest difference between the outputs of B and of the mapped B, relative to the largest output. Here B's "
    "units are mapped by mixtures, so its outputs may change."
)


def run_bar(job: Job, report: MergeReport | None, here: str) -> None:
    """Show the bar of this run. here: the key of the page that shows the bar."""
    request = request_of(job)
    with st.container(border=True, key="runbar"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small", key="run"):
                st.markdown(f"**Run `{job.id[:6]}`**{' · example' if job.example else ''}", width="content")
                st.markdown(
                    networks_line([model.name for model in request.models], request.base.name if request.base else ""),
                    width="content",
                )
                st.caption(_method(request), width="content")
                if report is not None:
                    _equivalence(report, find("align", request.align).permutes)
            with st.container(horizontal=True, width="content", gap="xsmall", key="run-actions"):
                _actions(job, request, report, here)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            tabs(job.id[:PREFIX], here, TABS if report is not None else ["merge"])
    if report is not None and other_version(report):
        st.warning(
            "Another version of Mergescope made this result, so its numbers may have another meaning. Run it again."
        )


def again(request: MergeRequest) -> Job:
    """Submit this merge, on the images as they are now, and make it the displayed run."""
    request = on_images(request)
    job = submit(request)
    remember(job.id, request.to_json())
    look_at(job.id)
    return job


def _actions(job: Job, request: MergeRequest, report: MergeReport | None, here: str) -> None:
    """Show the actions as icons; their labels are hidden by the style sheet and read by screen readers."""
    if here != "merge" and st.button(
        "Change", key="change", icon=":material/edit:", help="Opens the form with the choices of this run"
    ):
        go("merge", run=job.id[:PREFIX])
    with _menu("Copy link", ":material/link:") as link:
        if link.open:
            st.caption(f"This link opens the same view for {_reached_by()}, also after a restart.")
            view = {name: value for name, value in st.query_params.items() if name != "run"}
            st.code(address(here, job.id[:PREFIX], **view), language=None, wrap_lines=True)
    if report is not None:
        with _menu("Downloads", ":material/download:") as files:
            if files.open:
                downloads(job, report)
    again_label = "Run again with another seed"
    if st.button(again_label, key="again", icon=":material/casino:", help=again_label):
        with show_errors():
            again(replace(request, seed=request.seed + 1))
            go("merge", run=st.session_state["run"])
    if not job.example and owner() in job.owners:
        _delete(job)


def _menu(label: str, icon: str) -> PopoverContainer:
    """A menu whose content is made when it is opened, because every element costs the server time in every rerun."""
    return st.popover(label, icon=icon, key=label.lower(), help=label, on_change="rerun")


def _reached_by() -> str:
    """The people who can open a link to this address."""
    host = urlsplit(st.context.url or "").hostname
    return (
        "everybody on this computer" if host in ("localhost", "127.0.0.1", "::1") else "everybody on this local network"
    )


def _delete(job: Job) -> None:
    with _menu("Delete", ":material/delete:") as menu:
        if not menu.open:
            return
        st.caption("The result is removed for everybody, unless someone else requested it too.")
        if st.button("Delete this run", key="delete run", type="primary"):
            with show_errors():
                ledger().delete(job.id, owner())
                for name in ("run", "last_done", "filled"):
                    st.session_state.pop(name, None)
                st.query_params.clear()
                st.rerun()


def networks_line(names: Sequence[str], base: str = "") -> str:
    """Return the networks of a merge on one line of Markdown; what all their names begin with is written once.

    base: name of the network from which they were fine-tuned, "" for none.
    """
    parts = [name.split(DOT) for name in names]
    alike = [len(set(column)) == 1 for column in zip(*(part[:-1] for part in parts), strict=False)]
    shared = [*alike, False].index(False)
    a, b, *others = (plain(DOT.join(part[shared:])) for part in parts)
    start = f"{plain(DOT.join(parts[0][:shared]))}{DOT}" if shared else ""
    more = "".join(f" :gray[+] {name}" for name in others)
    origin = f" :gray[from] {plain(base)}" if base else ""
    return f"{start}:blue[●] {a} :gray[+] :orange[◆] {b}{more}{origin}"


def _method(request: MergeRequest) -> str:
    chosen = {role: getattr(request, role) for role in ROLES}
    steps = " › ".join(find(role, key).label for role, key in chosen.items() if (role, key) != ("correct", "none"))
    data = plain(data_label(request.dataset)) or "no data set"
    return f"{steps} · {data} · seed {request.seed}"


def _equivalence(report: MergeReport, permutes: bool) -> None:
    fine = report.equivalence <= GOOD
    if not permutes and not fine:
        said = f"|B − mapped B| {numbers.tiny(report.equivalence)}: units are mixed, not re-ordered"
        st.badge(said, icon=":material/shuffle:", color="blue", help=MIXED)
        return
    st.badge(
        f"|B − π(B)| {numbers.tiny(report.equivalence)} {'ok' if fine else 'too large'}",
        icon=":material/check:" if fine else ":material/warning:",
        color="green" if fine else "red",
        help=meaning("|B − π(B)|"),
    )
