"""The teacher's view of a class: set the pace, reveal, see who is where, and answer raised hands."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import streamlit as st

from merging.errors import MergescopeError
from merging.figures.series import figure_table
from merging.teaching.answers import class_answers, reset
from merging.teaching.classes import FREE, PACES, TOGETHER, LabClass, Place, delete_class, find_class, lead
from merging.teaching.lesson import Lesson, Step
from merging.teaching.question import in_words
from merging.teaching.shown import shown_figure
from merging.teaching.students import raise_hand, students_of
from merging.teaching.truths import truth_of
from merging.text import numbers
from ui.shell.guard import show_errors
from ui.shell.kept import kept
from ui.shell.screens import address, link
from ui.shell.state import ledger
from ui.teaching.lesson_view import lesson_view
from ui.teaching.lobby import KEY_SHOWN
from ui.teaching.seat import BOARD, Seat
from ui.teaching.takehome import teacher_downloads

EVERY = 4.0  # seconds between two looks at a running class
STUCK = 180.0  # seconds without a sign of a student


def teacher_view(seat: Seat, lesson: Lesson, step: Step) -> None:
    """Show the class to its teacher."""
    assert seat.lab is not None
    lab = seat.lab
    _head(lab)
    left, right = st.columns([2, 3], gap="large")
    with left, show_errors():
        if not lab.ended:
            _controls(seat, lab, lesson, step)
        st.fragment(_board, run_every=None if lab.ended else EVERY)(seat, lesson, step)
        teacher_downloads(seat)
        _end(seat, lab, (lesson.key, step.key))
    with right, st.container(border=True):
        st.caption("What the class sees")
        lesson_view(seat, lesson, step)
    _read_ahead(step)


def _read_ahead(step: Step) -> None:
    """Read what the reveal will show, so that thirty pages do not wait for it at once."""
    with suppress(MergescopeError):  # the reveal says it
        if step.question is not None:
            truth_of(ledger(), step.question)
        if step.shown_then is not None:
            kept(figure_table, shown_figure(ledger(), step.shown_then))


def _head(lab: LabClass) -> None:
    shown = st.session_state.get(KEY_SHOWN)
    if shown and shown[0] == lab.code:
        st.success(
            f"Your key of this class: `{shown[1]}`. It is shown only now. This browser knows it; write it down to lead "
            "the class from another one.",
            icon=":material/key:",
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{lab.title}** · code **{lab.code}**{' · ended' if lab.ended else ''}")
        link("lab", "Projector", icon=":material/tv:", **{"class": lab.code, "view": BOARD})
    st.code(address("lab", **{"class": lab.code}), language=None)


def _controls(seat: Seat, lab: LabClass, lesson: Lesson, step: Step) -> None:
    """Draw what leads the class. Every widget shows the class as it is now, also if another teacher changed it."""
    known, place = seat.lessons(), (lesson.key, step.key)
    st.session_state["led lesson"], st.session_state["pace"] = lesson.key, lab.pace
    st.session_state["paused"] = lab.paused
    st.selectbox(
        "Lesson", list(known), format_func=lambda key: known[key].title, key="led lesson", on_change=_lead_lesson,
        args=(seat,),
    )  # fmt: skip
    number = lesson.place(step.key)
    with st.container(horizontal=True):
        _move("Back", ":material/arrow_back:", seat, lesson, number - 1)
        _move("Next step", ":material/arrow_forward:", seat, lesson, number + 1)
        if step.question is not None and place not in lab.shown:
            shown = {*lab.shown, place}
            st.button(
                "Reveal", icon=":material/lightbulb:", type="primary", key="reveal", on_click=_lead, args=(seat,),
                kwargs={"shown": shown},
            )  # fmt: skip
    st.radio(
        "Pace", PACES, horizontal=True, key="pace", on_change=_lead_pace, args=(seat,),
        format_func={TOGETHER: "step by step for all", FREE: "everybody at their own pace"}.__getitem__,
    )  # fmt: skip
    st.toggle("Pause: no answers", key="paused", on_change=_lead, args=(seat,), kwargs={"paused": not lab.paused})


def _move(label: str, icon: str, seat: Seat, lesson: Lesson, number: int) -> None:
    """Draw a button that takes the class to another step."""
    there = 0 <= number < len(lesson.steps)
    place = (lesson.key, lesson.steps[number].key) if there else None
    st.button(
        label, icon=icon, key=f"move {label}", disabled=not there, on_click=_lead, args=(seat,),
        kwargs={"place": place},
    )  # fmt: skip


def _lead(seat: Seat, **changes: Any) -> None:
    with show_errors():
        lead(ledger(), seat.code, seat.visitor, **changes)


def _lead_lesson(seat: Seat) -> None:
    lesson = seat.lessons()[st.session_state["led lesson"]]
    _lead(seat, place=(lesson.key, lesson.steps[0].key))


def _lead_pace(seat: Seat) -> None:
    _lead(seat, pace=st.session_state["pace"])


def _board(seat: Seat, lesson: Lesson, step: Step) -> None:
    """Show how many answered, what, and who is where; drawn again every few seconds."""
    assert seat.lab is not None
    with show_errors():
        lab = find_class(ledger(), seat.lab.code)
        if lab is None:
            st.rerun(scope="app")
            return
        students, place = students_of(ledger(), lab.code), (lesson.key, step.key)
        given = class_answers(ledger(), lab, place)
        by_owner = {one.owner: one for one in given}
        st.markdown(f"**{len(students)}** in the class" + (f", **{len(given)}** answered" if step.question else ""))
        for one in sorted((one for one in students if one.hand), key=lambda one: one.hand):
            left, right = st.columns([3, 1], vertical_alignment="center")
            left.warning(f"{one.nickname} raised a hand {numbers.ago(one.hand)}.", icon=":material/back_hand:")
            if right.button("Lower", key=f"lower {one.number}"):
                raise_hand(ledger(), lab.code, one.owner, False)
                st.rerun(scope="app")
        rows = []
        for one in students:
            answer = by_owner[one.owner].answer(step.question) if step.question and one.owner in by_owner else None
            where = seat.lessons().get(one.place[0])
            rows.append(
                {
                    "Student": one.nickname,
                    "Where": f"{where.title}, step {where.place(one.place[1]) + 1}" if where else "not begun",
                    "Answered": "yes" if one.owner in by_owner else "not yet",
                    "Answer": in_words(step.question, answer, comma=lab.comma) if answer and step.question else "",
                    "Last seen": numbers.ago(one.seen) if time.time() - one.seen > STUCK else "here",
                }
            )
        if rows:
            with st.expander("Who is where, with answers", icon=":material/groups:", key="who"):
                st.dataframe(rows, hide_index=True, width="stretch", alt="Every student, one per row.")


def _end(seat: Seat, lab: LabClass, place: Place) -> None:
    with st.popover("More", icon=":material/more_horiz:"):
        if not lab.ended:
            if st.button("Reset this step", key="reset", help="Deletes all answers to it."):
                reset(ledger(), lab.code, seat.visitor, place)
                st.rerun()
            if st.button("End the class", key="end", help="No more answers; all can still look."):
                lead(ledger(), lab.code, seat.visitor, ended=True)
                st.rerun()
        sure = st.checkbox("Delete all nicknames and answers of this class", key="sure")
        if st.button("Delete the class", key="delete class", disabled=not sure):
            delete_class(ledger(), lab.code, seat.visitor)
            st.query_params.clear()
            st.rerun()
