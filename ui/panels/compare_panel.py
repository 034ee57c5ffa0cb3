"""Table and charts of a comparison, updated while its merges run."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from merging.errors import Cancelled, MergescopeError, TooManyJobs
from merging.figures.many.comparison import REFERENCES, Point, bars, growth, mean_of
from merging.jobs.ledger.jobs import OPEN
from merging.jobs.requests.comparison import (
    COLUMNS,
    MEASURED,
    Grid,
    Row,
    by_kind,
    differing,
    row_of,
    summaries,
    to_csv,
    to_values,
)
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.registry import from_json
from merging.jobs.search import KEY, cancel_batch, cancelled_of, is_mine, progress_of, was_stopped
from merging.methods.registry import find
from merging.paths import without_folders
from merging.results.intervals import wilson
from merging.text import numbers
from merging.text.comparison_words import Triple, standing
from ui.forms.compare_form import batch, key
from ui.shell.address import said
from ui.shell.chosen import PREFIX
from ui.shell.guard import show_errors
from ui.shell.look import draw, show_table
from ui.shell.markdown import plain
from ui.shell.screens import address
from ui.shell.state import ledger, merge_report, owner, submit
from ui.shell.words import STATES

REFUSED = "merges that cannot be run"  # key of the session: id of a merge -> why
EVERY = 2.0  # seconds between updates while a merge is open
SHARES = ("test_accuracy", "train_accuracy", "naive_accuracy", "parents_accuracy", "ensemble_accuracy")
FORMATS = {
    "test_images": "%d",
    "distance": "%.1f",
    "objective": "%.1f",
    "equivalence": "%.0e",
    "seconds": "%.1f",
    "memory": "%d",
}
Progress = dict[str, tuple[str, float]]  # id of a merge -> (state, time of its end)
ALWAYS = ("networks", "align", "combine", "correct", "test_accuracy", "run")


def comparison() -> None:
    """Show the requested comparison, or a note on what will be shown here."""
    grid = st.session_state.get("comparison")
    if grid is None:
        with st.container(border=True):
            st.markdown(
                "**No comparison yet.** Choose networks and methods and press *Run*. Every method then gets a row in "
                "the table and a bar, beside those of the networks themselves, their ensemble and their naive average."
            )
        return
    st.fragment(_live, run_every=EVERY if said(KEY) else None)(grid, grid.requests())


def comparison_rows(requests: tuple[MergeRequest, ...], progress: Progress) -> list[Row]:
    """Return one row per merge. progress: as `progress_of` returns it."""
    rows = []
    for request in requests:
        state, finished = progress.get(request.id, ("", 0.0))
        if state == "done":
            rows.append(_done_row(request.id, finished, request.to_json()))
        else:
            rows.append(row_of(request, STATES[state] if state else "not run", None))
    return rows


def _progress_of(requests: tuple[MergeRequest, ...]) -> Progress:
    return progress_of(ledger(), [request.id for request in requests], owner())


@st.cache_data(max_entries=1000, show_spinner=False)
def _done_row(job_id: str, finished: float, asked: str) -> Row:
    """Row of a finished merge, cached so that its report is read only once."""
    job, request = ledger().job(job_id), from_json(asked)
    assert job is not None and isinstance(request, MergeRequest)
    try:
        return row_of(request, STATES["done"], merge_report(job))
    except MergescopeError:
        return row_of(request, "damaged", None)


def _live(grid: Grid, requests: tuple[MergeRequest, ...]) -> None:
    with show_errors():
        live, progress = bool(said(KEY)), _progress_of(requests)
        waits = _top_up(requests, progress) if live and _is_mine() else ""
        rows = comparison_rows(requests, progress)
        done = sum(row["state"] == STATES["done"] for row in rows)
        if live and not waits and not any(state in OPEN for state, _ in progress.values()):
            _end()
        if done < len(rows):
            _progress(rows, done, requests)
            if waits:
                st.caption(waits)
        _charts(grid, rows)
        _table(rows)


def _is_mine() -> bool:
    """Whether the visitor started this comparison, in this visit or an earlier one. Others only look at it."""
    return st.session_state.get("started comparison") == batch() or is_mine(ledger(), batch(), owner())


def _top_up(requests: tuple[MergeRequest, ...], progress: Progress) -> str:
    """Submit the missing merges up to the limit of open jobs; return why the rest has to wait, or "".

    `progress` is brought up to date. Nothing is submitted once someone has stopped the comparison.
    """
    missing = [request for request in requests if progress.get(request.id, ("",))[0] not in (*OPEN, "done", "failed")]
    if not missing or was_stopped(ledger(), batch()):
        return ""
    withdrawn = cancelled_of(ledger(), batch())
    missing = [request for request in missing if request.id not in withdrawn]
    waits = _submit(missing)
    progress.update(_progress_of(requests))
    return waits


def _submit(requests: Sequence[MergeRequest]) -> str:
    """Submit the merges; return why the rest has to wait, or "". Reasons for refusals are kept for `_progress`."""
    refused: dict[str, str] = st.session_state.setdefault(REFUSED, {})
    for request in requests:
        refused.pop(request.id, None)
        try:
            submit(request, batch=batch())
        except TooManyJobs:
            return "You have reached the limit of open jobs. The remaining merges are queued as these jobs end."
        except Cancelled:  # while these were submitted
            return ""
        except MergescopeError as error:  # such as a network that was deleted meanwhile; the others go on
            refused[request.id] = without_folders(str(error))
    return ""


def _progress(rows: list[Row], done: int, requests: tuple[MergeRequest, ...]) -> None:
    ends = {state: sum(row["state"] == STATES[state] for row in rows) for state in ("failed", "cancelled")}
    words = {"failed": "failed, see Runs", "cancelled": "cancelled"}
    ended = "".join(f" · {count} {words[state]}" for state, count in ends.items() if count)
    st.progress(done / len(rows), text=f"{done} of {len(rows)} merges done{ended}")
    refused: dict[str, str] = st.session_state.get(REFUSED, {})
    reasons = [refused[request.id] for request in requests if request.id in refused]
    if reasons:
        each = " ".join(plain(reason) for reason in dict.fromkeys(reasons))
        st.warning(f"{numbers.counted(len(reasons), 'merge')} cannot be run. {each}", icon=":material/block:")
    if not said(KEY):
        if st.button("Run the missing merges", icon=":material/play_arrow:"):
            st.query_params[KEY] = secrets.token_hex(8)
            st.session_state["started comparison"] = batch()
            states = _progress_of(requests)
            _submit([request for request in requests if states.get(request.id, ("",))[0] not in (*OPEN, "done")])
            st.rerun(scope="app")
        return
    st.caption("Everybody who opens the address of this page sees the same comparison and can stop it.")
    if st.button("Stop", icon=":material/stop:", help="Cancels waiting and running merges. Finished merges stay."):
        cancel_batch(ledger(), batch())
        _end()


def _end() -> None:
    """Remove the key of the running comparison from the address, so that the page no longer refreshes."""
    st.query_params.pop(KEY, None)
    st.rerun(scope="app")


def points_of(rows: list[Row]) -> list[Point]:
    """Return the points of the figures: every method with its mean over merges and a whisker.

    The whisker is the standard deviation over merges; for a single merge, the 95 % interval of its accuracy.
    """
    label = _labels(rows)
    points = []
    for summary in summaries(rows, "test_accuracy"):
        align, combine, correct = summary.triple
        low, high = summary.mean - summary.spread, summary.mean + summary.spread
        images = [row["test_images"] for row in rows if (_triple(row), row["count"]) == (summary.triple, summary.count)]
        known = [int(count) for count in images if not math.isnan(count)]
        if summary.runs == 1 and known:
            low, high = wilson(summary.mean, known[0])
        rest = f"{combine} {correct}"
        points.append(Point(label(summary.triple), align, rest, summary.count, summary.mean, low, high))
    return points


def _triple(row: Row) -> Triple:
    return row["align"], row["combine"], row["correct"]


def _labels(rows: list[Row]) -> Callable[[Triple], str]:
    """Function from a method triple to its name, which leaves out what no row does."""
    only_aligned = {_triple(row)[1:] for row in rows} == {("average", "none")}

    def label(triple: Triple) -> str:
        align, combine, correct = triple
        steps = [("align", align), ("combine", combine)] + ([("correct", correct)] if correct != "none" else [])
        names = [find(role, name).label for role, name in steps]  # type: ignore[arg-type]
        return names[0] if only_aligned else " · ".join(names)

    return label


def _charts(grid: Grid, rows: list[Row]) -> None:
    kinds = by_kind(rows)
    for number, (kind, mine) in enumerate(kinds.items()):
        if len(kinds) > 1 and points_of(mine):
            st.markdown(f"**{plain(kind)}**")
        _chart(grid, mine, f"{number}" if number else "")


def _chart(grid: Grid, rows: list[Row], which: str) -> None:
    points = points_of(rows)
    if not points:
        return
    if grid.mode == "growing" and len(grid.models) > 2:
        draw(growth(points), f"growth{which}", f"comparison{which}", width="stretch")
        return
    beside = {name: mean_of([row[name] for row in rows]) for name in REFERENCES}
    references = {name: value for name, value in beside.items() if not math.isnan(value)}
    draw(bars(points, references), f"bars{which}", f"comparison{which}", width="stretch")
    st.caption(_explained(rows))


def _explained(rows: list[Row]) -> str:
    """What the whiskers show, and which methods the merges tell apart."""
    runs = max(summary.runs for summary in summaries(rows, "test_accuracy"))
    if runs > 1:
        whiskers = (
            f"Mean of up to {runs} merges per method (pairs and seeds). The whiskers show their standard deviation; "
            "for a method with one merge, the 95 % interval (Wilson) for its number of test images."
        )
    elif any(point.high > point.low for point in points_of(rows)):
        whiskers = "The whiskers show 95 % intervals (Wilson) for the number of test images."
    else:
        whiskers = ""
    return f"{standing(rows, _labels(rows))} {whiskers}".strip()


def _table(rows: list[Row]) -> None:
    only = st.toggle("Only differences", key=key("differences"), help="Hides columns that are the same in every row.")
    columns = [name for name in COLUMNS if name in ALWAYS or not all(_empty(row[name]) for row in rows)]
    if only:
        differences = differing(rows, columns)
        columns = [name for name in columns if name in differences or name == "run"]
    cells = [{COLUMNS[name]: _cell(name, row[name]) for name in columns} for row in rows]
    alt = "Every merge of the comparison, one per row. The chart summarises them."
    show_table(cells, column_config=_config(columns), placeholder="–", alt=alt)
    with st.container(horizontal=True):
        st.download_button("CSV", lambda: to_csv(rows), "comparison.csv", "text/csv", on_click="ignore")
        values = to_values(rows)
        st.download_button("JSON", lambda: json.dumps(values), "comparison.json", "application/json", on_click="ignore")


def _config(columns: list[str]) -> dict[str, Any]:
    """Return the column formats; cells stay numbers, so that a click on a column's header sorts by value."""
    by_title: dict[str, Any] = {}
    for name in columns:
        if name in SHARES:
            by_title[COLUMNS[name]] = st.column_config.NumberColumn(format="%.1f %%")
        elif name in MEASURED:
            by_title[COLUMNS[name]] = st.column_config.NumberColumn(format=FORMATS.get(name, "%.3f"))
    by_title[COLUMNS["run"]] = st.column_config.LinkColumn(display_text="open")
    return by_title


def _cell(name: str, value: Any) -> Any:
    if name == "run":
        return address("merge", str(value)[:PREFIX])
    if name in ("align", "combine", "correct"):
        return find(name, value).label  # type: ignore[arg-type]
    if _empty(value):
        return None
    if name == "memory":
        return round(value / 1e6)
    return 100 * value if name in SHARES else value


def _empty(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
