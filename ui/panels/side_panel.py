"""Two to six runs side by side: curves over each other, a table of what differs, their maps and their units."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape

import streamlit as st

from merging.errors import MergescopeError
from merging.figures.curve import AXES
from merging.figures.many.runs import MOST_RUNS, curves_over_each_other, matches_by_layer
from merging.figures.similarity import ORDER, TITLES, heatmap
from merging.jobs.requests.comparison import COLUMNS, row_of, to_csv
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.search import mark_of
from merging.methods.registry import find
from merging.paths import without_folders
from merging.results.reports import MergeReport
from merging.text.side_by_side import GROUPS, lines_of
from ui.panels.merge_panel import METRICS, SPLITS
from ui.shell.address import one_of, said, said_names
from ui.shell.chosen import PREFIX, request_of
from ui.shell.kept import kept
from ui.shell.look import draw, show_table
from ui.shell.markdown import plain
from ui.shell.screens import link
from ui.shell.state import data_label, distinct, find_job, ledger, merge_report, owner
from ui.shell.words import STATES, meaning

LEAST = 2
LONGEST = 30  # characters of a network's name in the name of a run


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs. name: what distinguishes it from the others, as plain text."""

    id: str
    name: str
    request: MergeRequest
    report: MergeReport


def asked_runs() -> list[ComparedRun]:
    """Return the runs that the address names; for each that cannot be shown, say why."""
    ids = said_names("runs")
    if len(ids) > MOST_RUNS:
        st.warning(f"The address names {len(ids)} runs; the first {MOST_RUNS} are shown.")
    runs: dict[str, tuple[MergeRequest, MergeReport, str]] = {}
    for id in ids[:MOST_RUNS]:
        job = find_job(id)
        try:
            report = merge_report(job) if job is not None and job.kind == "merge" and job.state == "done" else None
            if job is None or report is None:
                state = "is not here" if job is None else f"is no finished merge ({STATES[job.state]})"
                st.warning(f"The run {plain(id[:PREFIX])} {state}.")
                continue
            runs[job.id] = request_of(job), report, mark_of(ledger(), job.id, owner()).name
        except MergescopeError as error:
            st.warning(f"The run {plain(id[:PREFIX])} cannot be shown. {plain(without_folders(str(error)))}")
    usual = _usual_names({id: request for id, (request, _, _) in runs.items()})
    names = distinct({id[:6]: name or usual[id] for id, (_, _, name) in runs.items()})
    return [ComparedRun(id, names[id[:6]], request, report) for id, (request, report, _) in runs.items()]


def _usual_names(requests: dict[str, MergeRequest]) -> dict[str, str]:
    """Names of runs to which the visitor gave none: network and method of alignment where they differ, and the id."""
    networks = {id: request.models[0].name.split(" · ")[0][:LONGEST] for id, request in requests.items()}
    methods = {id: find("align", request.align).label for id, request in requests.items()}
    told = [names for names in (networks, methods) if len({*names.values()}) > 1]
    words = {id: ", ".join(names[id] for names in told) for id in requests}
    return {id: f"{words[id]} ({id[:6]})" if told else id[:6] for id in requests}


def show_runs(runs: list[ComparedRun]) -> None:
    """Draw everything that is shown of several runs."""
    with st.container(horizontal=True):
        for number, run in enumerate(runs, 1):
            link("merge", f"{number}. {run.name}", run=run.id[:PREFIX], icon=":material/open_in_new:")
    _curves(runs)
    _table(runs)
    _maps(runs)
    _units(runs)


def _curves(runs: list[ComparedRun]) -> None:
    with st.container(border=True):
        st.markdown("**The path from A to B**")
        if not any(run.report.curves for run in runs):
            st.caption("None of these runs has curves: they need images, and exactly two networks.")
            return
        with st.container(horizontal=True, vertical_alignment="bottom"):
            metric = one_of(
                "What", list(METRICS), default="loss", key="metric", format_func=METRICS.__getitem__,
                help="; ".join(AXES.values()),
            )  # fmt: skip
            split = one_of("Images", list(SPLITS), default="test", key="split", format_func=SPLITS.__getitem__)
        names, reports = tuple(escape(run.name) for run in runs), tuple(run.report for run in runs)
        draw(curves_over_each_other(names, reports, metric, split), "side curves", f"runs-{metric}-{split}")
        if len({(run.request.data, run.request.dataset) for run in runs}) > 1:
            st.caption("These runs were measured on different images, so their numbers cannot be compared directly.")


def _table(runs: list[ComparedRun]) -> None:
    with st.container(border=True):
        st.markdown("**What differs**")
        rows = [row_of(run.request, STATES["done"], run.report) for run in runs]
        lines = lines_of([json.loads(run.request.to_json()) for run in runs], rows, COLUMNS, data_label)
        only = st.toggle("Only differences", value=True, key="side differences", bind="query-params")
        for group in GROUPS:
            cells = [
                {"": line.name, **{run.name: value for run, value in zip(runs, line.values, strict=True)}}
                for line in lines
                if line.group == group and (line.differs or not only)
            ]
            st.caption(group)
            if cells:
                show_table(cells, alt=f"{group} of the runs, one column per run")
            else:
                st.markdown(":gray[no difference]")
        st.download_button("CSV", lambda: to_csv(rows), "runs.csv", "text/csv", on_click="ignore")


def _maps(runs: list[ComparedRun]) -> None:
    with st.container(border=True):
        st.markdown("**Similarity of layers**", help=f"{meaning('CKA')} {meaning('debiased')}")
        keys = [key for key in ORDER if any(key in run.report.similarity for run in runs)]
        if not keys:
            st.caption("None of these runs compared layers, because images were missing.")
            return
        key = one_of("Map", keys, default=keys[-1], key="map", format_func=TITLES.__getitem__)
        with_map = [run for run in runs if key in run.report.similarity]
        for start in range(0, len(with_map), 2):
            for column, run in zip(st.columns(2), with_map[start : start + 2], strict=False):
                with column:
                    st.markdown(plain(run.name))
                    map = run.report.similarity[key]
                    draw(
                        kept(heatmap, map, f"{escape(run.name)}: {TITLES[key]}"),
                        f"side map {run.id}",
                        f"cka-{run.name}",
                    )


def _units(runs: list[ComparedRun]) -> None:
    with st.container(border=True):
        st.markdown("**How well the units match**", help=meaning("match correlation"))
        layers = {tuple(facts.layer for facts in run.report.units) for run in runs}
        if len(layers) > 1 or not all(layers):
            st.caption("These networks have different layers, so their units cannot be drawn side by side.")
            return
        names, reports = tuple(escape(run.name) for run in runs), tuple(run.report for run in runs)
        draw(matches_by_layer(names, reports).with_selected(said("layer")), "side units", "runs-match")
        layer = st.selectbox(
            "Look at the units of", list(next(iter(layers))), key="layer", bind="query-params", width=260
        )
        with st.container(horizontal=True):
            for run in runs:
                link("neurons", f"Units of {run.name}", run=run.id[:PREFIX], layer=layer or "")
