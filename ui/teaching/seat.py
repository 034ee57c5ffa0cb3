"""Where a visitor of the Lab is: in which class, as teacher or student, and at which step of which lesson."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from merging.teaching.answers import ALONE
from merging.teaching.classes import TOGETHER, LabClass, Place, as_code, find_class, forget_old, is_teacher
from merging.teaching.lesson import Lesson, Step, lessons
from merging.teaching.students import Student, find_student
from merging.teaching.tries import check_tries, note_wrong
from ui.shell.address import said
from ui.shell.state import ledger, network_address, owner

CLASS, LESSON, STEP, VIEW = "class", "lesson", "step", "view"  # parameters of the page's address
BOARD = "board"
WRONG = "wrong code"  # session state: the last code of an address that was no class


@dataclass(frozen=True)
class Seat:
    """A visitor's place.

    Attributes:
        visitor: the visitor's identifier.
        lab: the class, None for those who learn alone.
        student: the visitor as a student of the class, None for its teacher and outside classes.
        teaches: whether the visitor teaches the class.
    """

    visitor: str
    lab: LabClass | None = None
    student: Student | None = None
    teaches: bool = False

    @property
    def code(self) -> str:
        """Code of the class; ALONE outside classes."""
        return self.lab.code if self.lab is not None else ALONE

    @property
    def comma(self) -> bool:
        """Whether numbers are written with a decimal comma."""
        return self.lab is not None and self.lab.comma

    def lessons(self) -> dict[str, Lesson]:
        """Key -> the lessons of the class that are here, or all lessons."""
        known = lessons()
        return known if self.lab is None else {key: known[key] for key in self.lab.lessons if key in known}

    def follows(self) -> bool:
        """Whether the visitor is a student whose teacher sets the pace."""
        return self.student is not None and self.lab is not None and self.lab.pace == TOGETHER

    def sees_truth(self, place: Place, answered: bool) -> bool:
        """Whether the right answer of a step is shown to this visitor."""
        if self.lab is not None and place in self.lab.shown:
            return True
        return answered and not self.follows()


def find_seat() -> Seat:
    """The visitor's place, from the address and the ledger. Raises InvalidRequest after many wrong codes."""
    code, visitor = as_code(said(CLASS)), owner()
    if not code:
        return Seat(visitor)
    teaches, student = is_teacher(ledger(), code, visitor), find_student(ledger(), code, visitor)
    if not teaches and student is None:
        check_tries(visitor, network_address())
    lab = find_class(ledger(), code)
    if lab is None:
        if st.session_state.get(WRONG) != code:  # not at every redrawing of the page
            st.session_state[WRONG] = code
            note_wrong(visitor, network_address())
        return Seat(visitor)
    st.session_state[WRONG] = code  # a class that is deleted while its page is open is no wrong code
    return Seat(visitor, lab, student, teaches)


@st.cache_resource(ttl=3_600, show_spinner=False)
def forget_old_classes() -> None:
    """Delete old classes, at most once an hour, whatever page is opened."""
    forget_old(ledger())


def current(seat: Seat) -> tuple[Lesson, Step] | None:
    """Lesson and step that the visitor sees; None if no lesson was chosen.

    A student whose teacher sets the pace may look back in the lesson, never ahead.
    """
    known, asked = seat.lessons(), (said(LESSON), said(STEP))
    place = asked
    if seat.lab is not None and seat.teaches:
        place = seat.lab.place
    elif seat.lab is not None and seat.student is not None:
        place = _student_place(seat.lab, seat.student, asked, known)
    lesson = known.get(place[0])
    if lesson is None and seat.lab is not None:  # the lesson's file is gone
        lesson = next(iter(known.values()), None)
    return None if lesson is None else (lesson, lesson.steps[lesson.place(place[1])])


def go_to(place: Place) -> None:
    """Set the address to a step; the page shows it when it is drawn next."""
    st.query_params[LESSON], st.query_params[STEP] = place


def leave() -> None:
    """Go back to the door of the Lab."""
    st.query_params.clear()


def follow_class() -> None:
    """Take the step out of the address, so that the page shows where the class is."""
    st.query_params.pop(LESSON, None)
    st.query_params.pop(STEP, None)


def _student_place(lab: LabClass, student: Student, asked: Place, known: dict[str, Lesson]) -> Place:
    if lab.pace != TOGETHER:
        return asked if asked[0] in known else student.place
    lesson = known.get(lab.place[0])
    if lesson is None or asked[0] != lesson.key or not asked[1]:
        return lab.place
    return min(asked, lab.place, key=lambda place: lesson.place(place[1]))
