"""The class on a projector: the code to join by, the step, how many answered, and the distribution of answers."""

from __future__ import annotations

import segno
import streamlit as st

from merging.teaching.answers import class_answers
from merging.teaching.classes import find_class
from merging.teaching.lesson import Lesson, Step
from merging.teaching.question import in_words
from merging.teaching.students import students_of
from merging.teaching.truths import truth_of
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.shell.screens import address, link
from ui.shell.state import ledger
from ui.teaching.lesson_view import lesson_figure, reveal
from ui.teaching.play import play
from ui.teaching.question_view import answers_chart, class_views
from ui.teaching.seat import Seat, current, find_seat

EVERY = 3.0  # seconds between two looks
LARGE = 1.8  # factor of the texts in figures


def projector(seat: Seat) -> None:
    """Show the class in large type; drawn again every few seconds."""
    assert seat.lab is not None
    with st.container(key="projector"):
        st.fragment(_screen, run_every=None if seat.lab.ended else EVERY)(seat.lab.code)


def _screen(code: str) -> None:
    with show_errors():
        lab = find_class(ledger(), code)
        if lab is None:
            st.rerun(scope="app")
            return
        seat = find_seat()
        left, right = st.columns([4, 1])
        students = students_of(ledger(), code)
        where = current(seat)
        with right:
            url = address("lab", **{"class": code})
            st.html(
                f'<img src="{segno.make(url, error="m").svg_data_uri(scale=6, border=2, light="#fff")}" '
                f'alt="QR code of the address of this class" style="width:100%;max-width:16rem">'
            )
            st.markdown(f"## {code}")
            st.markdown(f"On a laptop: open {plain(url.partition('?')[0])} and type the code.")
            st.markdown(f"{len(students)} here")
            link("lab", "Back to the controls", icon=":material/arrow_back:", **{"class": code})
        with left:
            st.markdown(f"### {plain(lab.title)}")
            if where is not None:
                _step(seat, *where, len(students))


def _step(seat: Seat, lesson: Lesson, step: Step, students: int) -> None:
    assert seat.lab is not None
    place = (lesson.key, step.key)
    st.caption(f"{lesson.title} · step {lesson.place(step.key) + 1} of {len(lesson.steps)}")
    st.markdown(f"## {step.title}")
    st.markdown(step.text)
    if step.play:
        play(step.play, seat)
    question = step.question
    if question is None:
        if step.shown is not None:
            lesson_figure(step.shown, "before", large=LARGE, opens=False)
        return
    st.markdown(f"**{question.prompt}**")
    if question.options:
        st.markdown("\n".join(f"- {option}" for option in question.options))
    given = class_answers(ledger(), seat.lab, place)
    if place not in seat.lab.shown:
        st.progress(min(len(given) / max(students, 1), 1.0), text=f"{len(given)} of {students} answered")
        if step.shown is not None:
            lesson_figure(step.shown, "before", large=LARGE, opens=False)
        return
    truth = truth_of(ledger(), question)
    if truth is not None:
        st.markdown(f"### The result: {in_words(question, truth, comma=seat.comma)}")
    if question.kind != "text":
        answers_chart(question, class_views(seat, question, place), truth, None, large=LARGE)
    reveal(step, large=LARGE)
