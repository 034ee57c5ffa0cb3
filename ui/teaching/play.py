"""Things to try by hand in lessons: the network with two hidden units, and one's own cell of the sweep of the class."""

from __future__ import annotations

import streamlit as st

from merging.figures.many.sweep import sweep_figure
from merging.jobs.requests.sweep import SweepRequest
from merging.results.sweep_report import SweepRow
from merging.teaching.cells import LabCell, cell_words, dealt, lab_cells, read_sweep
from merging.teaching.lesson import Shown
from merging.teaching.shown import shown_figure, toy_figure
from merging.teaching.sources import WIDTHS
from merging.teaching.toy import TOY, Toy, changed_toy, largest_difference
from merging.text import numbers
from merging.text.sweep_words import describe_trends, usual_measure
from ui.runs.progress import failure, no_worker, progress_words
from ui.runs.sweeps import shared_look
from ui.shell.guard import show_errors
from ui.shell.look import draw
from ui.shell.screens import link
from ui.shell.state import find_job, ledger, submit
from ui.teaching.seat import Seat

EVERY = 4.0  # seconds between two looks at the sweep of a class
CHANGES = {
    "": "as it is",
    "swap": "swap its two hidden units",
    "scale": "make unit 1 stronger",
    "swap-one": "swap the incoming weights only",
    "average": "average it with its swapped copy",
}


def play(name: str, seat: Seat) -> None:
    """Show one of `lesson.PLAYS`."""
    if name == "toy":
        _toy()
    elif seat.lab is None:
        _shipped_sweep()
    else:
        _class_sweep(seat)


def _toy() -> None:
    change = st.radio("Change the network", list(CHANGES), format_func=CHANGES.__getitem__, key="toy change")
    factor = 1.0
    if change == "scale":
        text = "Factor of unit 1; its outgoing weights are divided by it"
        factor = st.slider(text, 0.25, 4.0, 2.0, 0.25, key="toy factor")
    now = changed_toy(change, factor) if change else TOY
    left, right = st.columns(2)
    with left:
        st.markdown("**Weights now**")
        st.markdown(_weights(now))
    with right:
        draw(toy_figure(change, factor), "toy", "toy", width="stretch")
    far = largest_difference(now)
    text = "The output is the same for all inputs." if far < 1e-9 else f"The output changes by up to {far:.2f}."
    st.markdown(f"**{text}**")


def _weights(toy: Toy) -> str:
    """The weights as a table, one row per unit."""
    rows = [("Hidden unit 1", toy.first[0]), ("Hidden unit 2", toy.first[1])]
    rows += [("Second layer, unit 1", toy.second[0]), ("Second layer, unit 2", toy.second[1]), ("Output", toy.last[0])]
    lines = [f"| {name} | {values[0]:g} | {values[1]:g} |" for name, values in rows]
    return "\n".join(["| Unit | weight of its 1st input | weight of its 2nd input |", "|---|---|---|", *lines])


def _shipped_sweep() -> None:
    """Outside a class: the shipped sweep, and the way to one of one's own."""
    st.markdown("In a class, each student runs one part of this sweep. Here is a finished one; you can run your own.")
    draw(shown_figure(ledger(), Shown("sweep", WIDTHS)), "class sweep", "sweep", width="stretch")
    link("sweeps", "Run a sweep of your own", icon=":material/build:")


def _class_sweep(seat: Seat) -> None:
    assert seat.lab is not None
    sweep = read_sweep(seat.lab.sweep)
    if sweep is None:
        st.info("This class has no sweep. The teacher can choose one when a class is opened.")
        return
    st.fragment(_running, run_every=None if seat.lab.ended else EVERY)(seat, sweep)


def _running(seat: Seat, sweep: SweepRequest) -> None:
    """Show one's own cell with its state, and the figure of the whole class."""
    with show_errors():
        rows = shared_look(sweep).rows(ledger())
        if seat.teaches:
            _all_cells(sweep, rows)
        elif seat.student is not None:
            _own_cell(seat, sweep, dealt(sweep, seat.student.number), rows)
        sweep_chart(sweep, rows)


def _own_cell(seat: Seat, sweep: SweepRequest, cell: LabCell, rows: list[SweepRow]) -> None:
    """Show a student's cell, and the button that starts it."""
    assert seat.lab is not None
    part = sweep.point(cell.values, cell.group)
    mine = _rows_of(cell, rows)
    done = list({row.run: row for row in mine if row.state == "done"}.values())  # one row per merge
    st.markdown(f"**Your part:** {cell_words(sweep, cell)}")
    job = find_job(part.id)
    if _is_done(cell, rows):
        barrier = done[0].measures.get("barrier_mean") if len(done) == 1 else None
        words = f" The barrier is {numbers.loss(barrier)} nats." if barrier is not None else ""
        st.success(f"Your part is done.{words}", icon=":material/check_circle:")
        for number, row in enumerate(done, 1):
            which = f" {number} of {len(done)}" if len(done) > 1 else ""
            link("merge", f"Look at your merge{which}", run=row.run[:12], icon=":material/open_in_new:")
    elif job is not None and job.open:
        st.progress(min(max(job.fraction, 0.0), 1.0), text=job.message or progress_words(job))
        if not ledger().workers():
            st.caption(no_worker(0.0))
    else:
        if job is not None and job.state == "failed":
            failure(job)
        _start_cell(seat, part, again=job is not None and job.state == "done")


def _start_cell(seat: Seat, part: SweepRequest, *, again: bool) -> None:
    """Show the button that starts a part, or why it cannot be started now."""
    assert seat.lab is not None
    if seat.lab.paused or seat.lab.ended:
        st.info("The teacher has paused the class." if not seat.lab.ended else "This class has ended.")
    elif st.button("Start my part", type="primary", icon=":material/play_arrow:", key="start cell"):
        submit(part, again=again)
        st.rerun(scope="app")


def _rows_of(cell: LabCell, rows: list[SweepRow]) -> list[SweepRow]:
    """The rows of a part: one per method, seed of methods, and λ if that is an axis."""
    return [row for row in rows if (row.values, row.group) == (cell.values, cell.group)]


def _is_done(cell: LabCell, rows: list[SweepRow]) -> bool:
    mine = _rows_of(cell, rows)
    return bool(mine) and all(row.state == "done" for row in mine)


def _all_cells(sweep: SweepRequest, rows: list[SweepRow]) -> None:
    """Show the teacher how many cells are done, and the button that starts those that are left."""
    cells = lab_cells(sweep)
    count = sum(_is_done(cell, rows) for cell in cells)
    st.markdown(f"**{count} of {len(cells)} parts are done.** Each student starts the part they were dealt.")
    job = find_job(sweep.id)
    if (
        count < len(cells)
        and (job is None or not job.open)
        and st.button("Start all parts that are left", key="start all")
    ):
        submit(sweep, again=job is not None and job.state == "done")
        st.rerun(scope="app")


def sweep_chart(sweep: SweepRequest, rows: list[SweepRow]) -> None:
    """Draw the figure of the whole class, as far as it is there, with the trend in words."""
    if not any(row.state == "done" for row in rows):
        st.caption("The figure of the class appears with the first finished part.")
        return
    measure = usual_measure(sweep)
    draw(sweep_figure(sweep, rows, measure), "class sweep", "sweep", once=True, width="stretch")
    for sentence in describe_trends(sweep, rows, measure):
        st.markdown(sentence)
