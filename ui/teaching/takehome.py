"""Downloads of the Lab: a person's worksheet, and the teacher's table and report."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from merging.teaching.answers import own_answers
from merging.teaching.classes import TOGETHER
from merging.teaching.lesson import Lesson
from merging.teaching.students import students_of
from ui.shell.screens import address
from ui.shell.state import ledger
from ui.teaching.seat import Seat

HTML, NOTEBOOK, CSV = "text/html", "application/x-ipynb+json", "text/csv"


def worksheet_downloads(seat: Seat) -> None:
    """Show the buttons that save one's own worksheet. It tells only those results that one has seen."""
    home = address("merge").partition("?")[0].rstrip("/")  # here: a download is made outside the page's run
    with st.popover("Take home", icon=":material/download:"):
        st.caption(
            "Your worksheet: the questions, your answers, the results that you have seen, and how to repeat them."
        )
        for label, kind, mime in (("To print or keep (HTML)", "html", HTML), ("Notebook (ipynb)", "ipynb", NOTEBOOK)):
            _button(label, lambda kind=kind: _worksheet(seat, kind, home), f"worksheet.{kind}", mime)


def teacher_downloads(seat: Seat) -> None:
    """Show the buttons that save all answers of the class."""
    with st.container(horizontal=True):
        _button("Answers (CSV)", lambda: _of_class(seat, "csv"), f"class-{seat.code}.csv", CSV)
        _button("Report (HTML)", lambda: _of_class(seat, "html"), f"class-{seat.code}.html", HTML)


def _worksheet(seat: Seat, kind: str, home: str) -> str:
    from merging.teaching.worksheet import worksheet_html, worksheet_lines, worksheet_notebook

    given = own_answers(ledger(), seat.code, seat.visitor)
    shown = seat.lab.shown if seat.lab is not None else frozenset()
    seen = shown if seat.lab is not None and seat.lab.pace == TOGETHER else shown | given.keys()
    lines = worksheet_lines(ledger(), _reached(seat), given, frozenset(seen), comma=seat.comma)
    title = seat.lab.title if seat.lab is not None else "Lab on linear mode connectivity"
    name = seat.student.nickname if seat.student is not None else ""
    write = worksheet_html if kind == "html" else worksheet_notebook
    return write(title, name, lines, home)


def _reached(seat: Seat) -> dict[str, Lesson]:
    """The lessons; for a student who follows the class, up to where it is, so that no question is told ahead."""
    known = seat.lessons()
    if seat.lab is None or not seat.follows() or seat.lab.place[0] not in known:
        return known
    keys = list(known)
    last = keys.index(seat.lab.place[0])
    now = known[keys[last]]
    reached = {key: known[key] for key in keys[:last]}
    return {**reached, now.key: replace(now, steps=now.steps[: now.place(seat.lab.place[1]) + 1])}


def _of_class(seat: Seat, kind: str) -> str:
    from merging.teaching.worksheet import class_csv, class_report

    assert seat.lab is not None
    write = class_csv if kind == "csv" else class_report
    return write(ledger(), seat.lab, seat.lessons(), students_of(ledger(), seat.code))


def _button(label: str, content: object, name: str, mime: str) -> None:
    st.download_button(label, content, name, mime, key=f"save {name}", on_click="ignore")  # type: ignore[arg-type]
