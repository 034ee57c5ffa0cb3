"""The teacher's view of a class: set the pace, reveal, see who is where, and answer raised hands."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import streamlit as st

from merging.errors import MergescopeError
from merging.figures.series import figure_table
from merging.teaching.answers import Given, class_answers, reset
from merging.teaching.classes import FREE, PACES, TOGETHER, LabClass, Place, delete_class, find_class, lead
from merging.teaching.lesson import Lesson, Step
from merging.teaching.question import in_words
from merging.teaching.shown import shown_figure
from merging.teaching.students import Student, raise_hand, remove, students_of
from merging.teaching.truths import truth_of
from merging.text import numbers
from ui.shell.guard import show_errors
from ui.shell.kept import kept
from ui.shell.markdown import plain
from ui.shell.screens import LOCAL, address, link
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
        _for_teacher(step)
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


def _for_teacher(step: Step) -> None:
    """Show the answer and its explanation, closed, because the window may be on the projector."""
    if step.question is None:
        return
    with st.expander("For you: the answer", icon=":material/visibility_off:", key="for teacher"), show_errors():
        truth = truth_of(ledger(), step.question)
        st.markdown(plain(in_words(step.question, truth)) if truth is not None else "There is no right answer.")
        st.markdown(step.reveal)


def _head(lab: LabClass) -> None:
    shown = st.session_state.get(KEY_SHOWN)
    if shown and shown[0] == lab.code:
        st.success(
            f"Your key of this class: `{shown[1]}`. It is shown only now. This browser knows it; write it down to lead "
            "the class from another one.",
            icon=":material/key:",
        )
        st.button("I have noted it", key="noted", on_click=st.session_state.pop, args=(KEY_SHOWN, None))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(lab.title)}** · code **{lab.code}**{' · ended' if lab.ended else ''}")
        link("lab", "Projector", icon=":material/tv:", **{"class": lab.code, "view": BOARD})
    url = address("lab", **{"class": lab.code})
    st.code(url, language=None)
    if urlsplit(url).hostname in LOCAL:
        st.warning(
            "Students cannot open this address on their devices. Start the app with `python start.py --share`.",
            icon=":material/wifi_off:",
        )


def _controls(seat: Seat, lab: LabClass, lesson: Lesson, step: Step) -> None:
    """Draw what leads the class. Every widget shows the class as it is now, also if another teacher changed it.

    The keys of buttons name the step: a press that arrives after the class has moved on does nothing. No callbacks: a
    press that arrives after a restart of the app is the first that its new process hears of the button.
    """
    known, place = seat.lessons(), (lesson.key, step.key)
    st.session_state["led lesson"], st.session_state["pace"] = lesson.key, lab.pace
    st.session_state["paused"], st.session_state["led step"] = lab.paused, step.key
    st.selectbox(
        "Lesson", list(known), format_func=lambda key: known[key].title, key="led lesson", on_change=_lead_lesson,
        args=(seat,),
    )  # fmt: skip
    number = lesson.place(step.key)
    titles = {one.key: f"{at} · {one.title}" for at, one in enumerate(lesson.steps, 1)}
    st.selectbox(
        "Step", list(titles), format_func=titles.__getitem__, key="led step", on_change=_lead_step,
        args=(seat, lesson),
    )  # fmt: skip
    with st.container(horizontal=True):
        _move("Back", ":material/arrow_back:", seat, lesson, number, number - 1)
        _move("Next step", ":material/arrow_forward:", seat, lesson, number, number + 1)
        hidden = step.question is not None and place not in lab.shown
        if hidden and st.button("Reveal", icon=":material/lightbulb:", type="primary", key=f"reveal {'/'.join(place)}"):
            _lead(seat, reveal=place)
            st.rerun()
    st.radio(
        "Pace", PACES, horizontal=True, key="pace", on_change=_lead_pace, args=(seat,),
        format_func={TOGETHER: "step by step for all", FREE: "everybody at their own pace"}.__getitem__,
    )  # fmt: skip
    st.toggle("Pause: no answers", key="paused", on_change=_lead, args=(seat,), kwargs={"paused": not lab.paused})


def _move(label: str, icon: str, seat: Seat, lesson: Lesson, here: int, to: int) -> None:
    """Draw a button that takes the class from one step to another."""
    there = 0 <= to < len(lesson.steps)
    key = f"move {label} {lesson.key}/{lesson.steps[here].key}"
    if st.button(label, icon=icon, key=key, disabled=not there) and there:
        _lead(seat, place=(lesson.key, lesson.steps[to].key))
        st.rerun()


def _lead(seat: Seat, **changes: Any) -> None:
    with show_errors():
        lead(ledger(), seat.code, seat.visitor, **changes)


def _lead_lesson(seat: Seat) -> None:
    _lead(seat, place=(st.session_state["led lesson"], ""))


def _lead_step(seat: Seat, lesson: Lesson) -> None:
    _lead(seat, place=(lesson.key, st.session_state["led step"]))


def _lead_pace(seat: Seat) -> None:
    _lead(seat, pace=st.session_state["pace"])


def _board(seat: Seat, lesson: Lesson, step: Step) -> None:
    """Show how many answered, what, and who is where; drawn again every few seconds."""
    assert seat.lab is not None
    with show_errors():
        lab = find_class(ledger(), seat.lab.code)
        if lab is None or lab.state != seat.lab.state:  # another browser of the teacher changed it
            st.rerun(scope="app")
            return
        students, given = students_of(ledger(), lab.code), class_answers(ledger(), lab, (lesson.key, step.key))
        st.markdown(f"**{len(students)}** in the class" + (f", **{len(given)}** answered" if step.question else ""))
        _hands(lab, students)
        if step.question is not None and step.question.kind == "text" and given:
            with st.expander("The answers, without names", icon=":material/format_quote:", key="quotes"):
                for text in (one.answer(step.question) for one in given):
                    if text is not None:  # it was given before the question became one for a text
                        st.markdown(f"- {plain(str(text))}")
        if students:
            who = st.expander("Who is where, with answers", icon=":material/groups:", key="who", on_change="rerun")
            if who.open:
                by_owner = {one.owner: one for one in given}
                known = seat.lessons()
                rows = [_row(seat, known, step, one, by_owner.get(one.owner)) for one in students]
                who.dataframe(rows, hide_index=True, width="stretch", alt="Every student, one per row.")


def _hands(lab: LabClass, students: list[Student]) -> None:
    """Show raised hands, the first one first."""
    for number, one in enumerate(sorted((one for one in students if one.hand), key=lambda one: one.hand)):
        left, right = st.columns([3, 1], vertical_alignment="center")
        left.warning(f"{plain(one.nickname)} raised a hand {numbers.ago(one.hand)}.", icon=":material/back_hand:")
        if right.button("Lower this hand", key=f"lower {number} {one.number}"):
            raise_hand(ledger(), lab.code, one.owner, False)
            st.rerun(scope="app")


def _row(seat: Seat, known: Mapping[str, Lesson], step: Step, student: Student, given: Given | None) -> dict[str, str]:
    """A student's row in the table of the teacher."""
    answer = given.answer(step.question) if given is not None and step.question is not None else None
    where = known.get(student.place[0])
    return {
        "Student": student.nickname,
        "Where": f"{where.title}, step {where.place(student.place[1]) + 1}" if where else "not begun",
        "Answered": "yes" if given is not None else "not yet",
        "Answer": in_words(step.question, answer, comma=seat.comma) if answer is not None and step.question else "",
        "Last seen": numbers.ago(student.seen) if abs(time.time() - student.seen) > STUCK else "here",
    }


def _remove(seat: Seat, lab: LabClass) -> None:
    """Draw the menu with which a student is removed, such as one who joined under a false name."""
    students = {one.owner: one for one in students_of(ledger(), lab.code)}
    chosen = st.selectbox(
        "Remove a student", list(students), index=None, format_func=lambda one: students[one].nickname,
        placeholder="nickname", key=f"removed {len(students)}",
    )  # fmt: skip
    if chosen is not None and st.button("Remove with all answers", key=f"remove {students[chosen].number}"):
        remove(ledger(), lab.code, seat.visitor, chosen)
        st.rerun()


def _end(seat: Seat, lab: LabClass, place: Place) -> None:
    with st.popover("Reset, end or delete", icon=":material/more_horiz:"):
        if not lab.ended:
            if st.button(
                "Reset this step",
                key="reset",
                help="Deletes all answers to this step and hides its result again. This cannot be undone.",
            ):
                reset(ledger(), lab.code, seat.visitor, place)
                st.rerun()
            if st.button(
                "End the class", key="end", help="No more answers; all can still look. A class cannot be opened again."
            ):
                lead(ledger(), lab.code, seat.visitor, ended=True)
                st.rerun()
        _remove(seat, lab)
        sure = st.checkbox("Delete all nicknames and answers of this class", key="sure")
        if st.button("Delete the class", key="delete class", disabled=not sure):
            delete_class(ledger(), lab.code, seat.visitor)
            st.query_params.clear()
            st.rerun()
