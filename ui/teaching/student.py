"""A student's view of a class: the step of the lesson, and a look every few seconds at where the class is."""

from __future__ import annotations

import streamlit as st

from merging.teaching.answers import own_answers
from merging.teaching.classes import TOGETHER, LabClass, Place, find_class
from merging.teaching.lesson import Lesson, Step
from merging.teaching.students import arrive, raise_hand
from ui.shell.markdown import plain
from ui.shell.state import ledger
from ui.teaching.lesson_view import lesson_view
from ui.teaching.seat import Seat, follow_class
from ui.teaching.takehome import worksheet_downloads

EVERY = 3.0  # seconds between two looks at the class


def student_view(seat: Seat, lesson: Lesson, step: Step) -> None:
    """Show the class to a student."""
    assert seat.lab is not None and seat.student is not None
    lab = seat.lab
    arrive(ledger(), lab.code, seat.student, (lesson.key, step.key))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(lab.title)}** · {plain(seat.student.nickname)}")
        up = seat.student.hand > 0
        label, icon = ("Lower my hand", ":material/do_not_touch:") if up else ("Raise my hand", ":material/back_hand:")
        if not lab.ended and st.button(label, icon=icon, key="hand"):
            raise_hand(ledger(), lab.code, seat.visitor, not up)
            st.rerun()
        worksheet_downloads(seat)
    if lab.ended:
        st.info("This class has ended. Your worksheet is under Take home.", icon=":material/flag:")
    elif lab.paused:
        st.info("The teacher has paused the class.", icon=":material/pause:")
    with st.container(key="lesson"):
        lesson_view(seat, lesson, step)
    if not lab.ended:
        answered = (lesson.key, step.key) in own_answers(ledger(), lab.code, seat.visitor)
        st.fragment(_watch, run_every=EVERY)(lab, seat.visitor, (lesson.key, step.key), answered)


def _watch(drawn: LabClass, visitor: str, place: Place, answered: bool) -> None:
    """Draw the page again when the teacher moved, revealed, paused, ended the class, or reset the step, since then."""
    now = find_class(ledger(), drawn.code)
    same = now is not None and now.state == drawn.state
    if same and (place in own_answers(ledger(), drawn.code, visitor)) == answered:
        return
    if now is None or (now.pace == TOGETHER and now.place != drawn.place):
        follow_class()
    st.rerun(scope="app")
