"""Panel of a sweep: progress, figure, trends, and the runs of every point; updated while the sweep runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from merging.errors import MergescopeError
from merging.figures.many.sweep import sweep_figure
from merging.figures.paper import WIDTHS, figure_file
from merging.jobs.ledger.jobs import Job
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.sweeps.axes import LAMBDA
from merging.jobs.sweeps.look import withdraw_parts
from merging.jobs.sweeps.measures import measures
from merging.paths import without_folders
from merging.results import saving
from merging.results.sweep_report import NAIVE_TRIPLE, SweepReport, SweepRow, Triple
from merging.text import numbers
from merging.text.sweep_words import (
    axes_of,
    describe_trends,
    measure_text,
    measured_names,
    merges_done,
    method_name,
    sweep_command,
    sweep_csv,
    unfinished_parts,
    usual_measure,
    value_text,
)
from ui.runs.progress import failure, no_worker
from ui.runs.sweeps import shared_look
from ui.shell.address import said
from ui.shell.chosen import PREFIX
from ui.shell.guard import show_errors
from ui.shell.look import draw_clickable, show_table
from ui.shell.markdown import plain
from ui.shell.screens import address, link
from ui.shell.state import find_job, ledger, merge_report, not_hidden, owner, submit
from ui.shell.words import STATES

EVERY = 2.0  # seconds between two updates while the sweep is open
KINDS = {"svg": "image/svg+xml", "pdf": "application/pdf"}
POINT = "point"  # parameter of the address: the index of the selected point
SHOWN = 12  # sweeps that are listed
MOST_LINKS = 24  # runs of one point that get a link of their own


def sweep_panel(job: Job, sweep: SweepRequest) -> None:
    """Show a sweep that was submitted."""
    st.markdown(f"**{plain(job.title)}**")
    st.fragment(_live, run_every=EVERY if job.open else None)(job.id, sweep)


def chosen_sweep() -> tuple[Job | None, SweepRequest | None]:
    """The sweep that the address names; (None, None) after a note if it is not here."""
    asked = said("sweep")
    job = find_job(asked) if asked else None
    if job is None or job.kind != "sweep":
        if asked:
            st.warning(
                f"The sweep {plain(asked[:PREFIX])} is not here. It was deleted, or another installation made it.",
                icon=":material/history:",
            )
        return None, None
    try:
        request = from_json(json.dumps(job.request))
    except MergescopeError as error:
        st.warning(plain(without_folders(str(error))), icon=":material/history:")
        return None, None
    return job, request if isinstance(request, SweepRequest) else None


def no_sweep() -> None:
    """Show what a sweep is, and the sweeps so far."""
    with st.container(border=True):
        st.markdown(
            "**No sweep chosen.** A sweep trains networks for every value of an axis, such as their width, merges them "
            "by the chosen methods, and draws the barrier over the axis. Choose an axis and press *Run the sweep*."
        )
    jobs = not_hidden(ledger().jobs(kind="sweep", limit=SHOWN))
    if jobs:
        st.markdown("**Sweeps so far**")
    for job in jobs:
        link("sweeps", f"{job.title} · {STATES[job.state]}", icon=":material/ssid_chart:", sweep=job.id[:PREFIX])


def rows_of(job: Job, sweep: SweepRequest) -> list[SweepRow]:
    """Rows of a sweep: those of its report once it is done, which stay when runs are deleted; else those so far."""
    report = ledger().report(job.id) if job.state == "done" else None
    return list(report.rows) if isinstance(report, SweepReport) else shared_look(sweep).rows(ledger())


def _live(job_id: str, sweep: SweepRequest) -> None:
    with show_errors():
        job = ledger().job(job_id)
        if job is None:
            st.rerun(scope="app")
            return
        was, st.session_state["sweep was open"] = st.session_state.get("sweep was open"), job.open and job.id
        if was == job.id and not job.open:
            st.rerun(scope="app")
        rows = rows_of(job, sweep)
        _state(job, sweep, rows)
        _figure(sweep, rows)
        _table(sweep, rows)
        _downloads(sweep, rows)


def _state(job: Job, sweep: SweepRequest, rows: Sequence[SweepRow]) -> None:
    """Show the progress with Pause or Continue, or why nothing more happens."""
    missing = unfinished_parts(sweep, rows)
    if job.open:
        left = f" · {numbers.about(job.eta)} left" if job.eta else ""
        st.progress(min(max(job.fraction, 0.0), 1.0), text=(job.message or "Waiting to start") + left)
        if not ledger().workers():
            st.caption(no_worker(0.0))
        if owner() not in job.owners:
            st.caption("This sweep runs for someone else, who alone can pause it.")
        elif st.button("Pause", icon=":material/pause:", help="Finished trainings and merges stay."):
            ledger().cancel(job.id, owner())
            if job.state == "queued" and job.owners == (owner(),):  # no dispatcher has it, so none withdraws its parts
                withdraw_parts(ledger(), [(sweep, job.owners)])
            st.rerun(scope="app")
        return
    if job.state == "failed":
        failure(job)
    elif job.state == "cancelled":
        paused = f"This sweep is paused; {merges_done(sweep, rows)} are done."
        st.info(paused, icon=":material/pause:")
    elif missing:
        st.warning(f"{missing} did not finish.{_reason(sweep, rows)} Runs shows all.", icon=":material/error:")
    may_continue = job.state != "done" or (bool(missing) and set(job.owners) == {owner()})
    if may_continue and st.button("Continue", icon=":material/play_arrow:", type="primary"):
        submit(sweep, again=job.state == "done")
        st.rerun(scope="app")


def _reason(sweep: SweepRequest, rows: Sequence[SweepRow]) -> str:
    """Where the first merge that failed stands, and why; "" if none has a reason."""
    for row in rows:
        job = find_job(row.run) if row.state == "failed" and row.run else None
        if job is not None and job.error:
            each = zip(axes_of(sweep), row.values, strict=True)
            place = ", ".join(f"{axis.label.lower()} {value_text(value)}" for axis, value in each)
            reason = f"At {place}, group {row.group}: {job.error['text']}"
            return f" {plain(reason)}"
    return ""


def _figure(sweep: SweepRequest, rows: Sequence[SweepRow]) -> None:
    known = measured_names(rows)
    if not known:
        st.caption("The figure appears with the first finished merge.")
        return
    left, right = st.columns(2)
    first = usual_measure(sweep)
    usual = known.index(first) if first in known else 0
    if st.session_state.get("measure") not in (None, *known):
        st.session_state["measure"] = known[usual]
    with left:
        measure = st.selectbox(
            "Measure", known, index=usual, format_func=_measure_title, key="measure", bind="query-params"
        )
    method = _method(sweep, right)
    figure = sweep_figure(sweep, rows, measure, method)
    draw_clickable(figure, "sweep figure", "sweep", lambda point: _select(sweep, point), width="stretch")
    groups = f"Means of up to {sweep.groups} groups of networks with seeds of their own"
    if sweep.groups == 1:
        st.caption("One group of networks: without a second one, nothing tells how much seeds matter.")
    elif method is None:
        interval = "whiskers: 95 % interval of the mean (t distribution)"
        st.caption(f"{groups}; {interval}. A click on a point shows its runs.")
    else:
        st.caption(f"{groups}. A click on a cell shows the runs of its column.")
    for sentence in describe_trends(sweep, rows, measure):
        st.markdown(sentence)


def _measure_title(name: str) -> str:
    return measures()[name].title


def _method(sweep: SweepRequest, place: Any) -> Triple | None:
    """Draw the menu of methods of a heat map; None for lines, which show all."""
    triples = sweep.triples()
    if len(sweep.axes) == 1:
        return None
    offered = [*triples, NAIVE_TRIPLE]
    with place:
        return st.selectbox("Method", offered, format_func=lambda one: method_name(one, triples), key="sweep method")


def _select(sweep: SweepRequest, point: Mapping[str, Any]) -> None:
    """Select the point that was clicked, by its value on the first axis."""
    texts = [value_text(value) for value in sweep.axes[0][1]]
    text = value_text(point.get("x"))
    if text in texts:
        st.query_params[POINT] = str(texts.index(text))


def _table(sweep: SweepRequest, rows: Sequence[SweepRow]) -> None:
    """Show every merge, or those of the selected point, each with a link to its run."""
    chosen = _selected(sweep)
    if chosen is not None:
        axis = axes_of(sweep)[0]
        left, right = st.columns([3, 1], vertical_alignment="center")
        left.markdown(f"**Runs at {axis.label.lower()} {value_text(chosen)}**")
        if right.button("Show all runs", key="all points"):
            st.query_params.pop(POINT, None)
            st.rerun(scope="app")
    mine = [row for row in rows if chosen is None or row.values[0] == chosen]
    if chosen is not None:
        _links(sweep, mine)
    what = "point" if LAMBDA in dict(sweep.axes) else "merge"
    with st.expander(numbers.counted(len(mine), what), icon=":material/table_rows:"):
        cells = [_cells(sweep, row) for row in mine]
        config = {"Run": st.column_config.LinkColumn(display_text="open")}
        alt = "Every merge of the sweep, one per row. The chart summarises them."
        show_table(cells, column_config=config, placeholder="–", alt=alt)


def _links(sweep: SweepRequest, rows: Sequence[SweepRow]) -> None:
    """Show a link to every finished run of a point."""
    for row in [row for row in rows if row.state == "done"][:MOST_LINKS]:
        words = [method_name(row.triple, sweep.triples()), *map(value_text, row.values[1:]), f"group {row.group}"]
        words += [f"seed {row.seed}"] if sweep.seeds > 1 else []
        words += (
            [f"accuracy {measure_text('accuracy', row.measures['accuracy'])}"] if "accuracy" in row.measures else []
        )
        link("merge", " · ".join(words), run=row.run[:PREFIX], icon=":material/open_in_new:")


def _selected(sweep: SweepRequest) -> Any:
    text, values = said(POINT), sweep.axes[0][1]
    known = {str(number): value for number, value in enumerate(values)}
    return known.get(text)


def _cells(sweep: SweepRequest, row: SweepRow) -> dict[str, Any]:
    over = {axis.label: value_text(value) for axis, value in zip(axes_of(sweep), row.values, strict=True)}
    known = [name for name in measures() if name in row.measures]
    shown = {_measure_title(name): measure_text(name, row.measures[name]) for name in known}
    state = STATES[row.state] if row.state else "not yet"
    run = address("merge", row.run[:PREFIX]) if row.state == "done" else None
    names = {"Methods": method_name(row.triple, sweep.triples()), "Group": row.group, "Seed": row.seed, "State": state}
    return {**over, **names, "Run": run, **shown}


def _downloads(sweep: SweepRequest, rows: Sequence[SweepRow]) -> None:
    measure = str(st.session_state.get("measure") or usual_measure(sweep))
    with st.container(horizontal=True):
        name = "sweep" if all(row.state == "done" for row in rows) else "sweep-unfinished"
        _download("CSV", lambda: sweep_csv(sweep, rows), f"{name}.csv", "text/csv")
        report = SweepReport(json.loads(sweep.to_json()), tuple(rows))
        _download("JSON", lambda: saving.to_json(report), f"{name}.json", "application/json")
        for kind, mime in KINDS.items() if measured_names(rows) else ():
            _download(kind.upper(), lambda kind=kind: _file(sweep, rows, measure, kind), f"{name}.{kind}", mime)
    with st.expander("The same sweep on the command line", icon=":material/terminal:"):
        st.code(sweep_command(sweep, _threads(rows)), language="bash", wrap_lines=True)
        st.caption(
            "To run in the program's folder, or anywhere after `pip install .` there. On the same machine and with the "
            "same number of threads, it gives the same numbers to the last digit."
        )


def _threads(rows: Sequence[SweepRow]) -> str:
    """Number of threads with which the first finished merge was computed; "" if it is unknown."""
    job = next((find_job(row.run) for row in rows if row.state == "done"), None)
    report = merge_report(job) if job is not None else None
    return report.machine.get("threads", "") if report is not None else ""


def _file(sweep: SweepRequest, rows: Sequence[SweepRow], measure: str, kind: str) -> bytes:
    method = st.session_state.get("sweep method") if len(sweep.axes) > 1 else None
    return figure_file(sweep_figure(sweep, rows, measure, method), kind, WIDTHS["two columns"])  # type: ignore[arg-type]


def _download(label: str, content: Any, file: str, mime: str) -> None:
    st.download_button(label, content, file, mime, key=f"sweep {label}", on_click="ignore")
