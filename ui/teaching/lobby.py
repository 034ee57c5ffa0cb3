"""The door of the Lab: lessons to take alone, a class to join by its code, and a class to open."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import streamlit as st

from merging.errors import InvalidRequest
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.sweeps.lab import lab_sweep
from merging.teaching.answers import own_answers
from merging.teaching.cells import dealt_sweeps, lab_cells, to_stored
from merging.teaching.classes import CODE_LENGTH, DAYS, LabClass, Place, classes_of, find_class, open_class, use_key
from merging.teaching.lesson import Lesson, broken_lessons
from merging.teaching.students import LONGEST_NAME, join_class
from merging.teaching.tries import check_opening, check_tries, note_opening, note_wrong
from ui.shell.address import said
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.shell.state import ledger, network_address, owner
from ui.teaching.lesson_view import answered
from ui.teaching.seat import CLASS, Seat, go_to

USUAL = 7  # lessons that fill ninety minutes
KEY_SHOWN = "key of the class"


def lobby(seat: Seat) -> None:
    """Show what can be done without a class."""
    st.markdown(
        "Short lessons on linear mode connectivity: predict, then see what real networks do. Take them alone, or "
        "together in a class."
    )
    left, right = st.columns([3, 2], gap="large")
    with right:
        join_form()
        _own_classes()
        _open_form(seat.lessons())
    with left:
        st.markdown("#### Learn alone", anchors=False)
        given = own_answers(ledger(), seat.code, seat.visitor)
        for lesson in seat.lessons().values():
            _card(lesson, given)
        for fault in broken_lessons():
            st.warning(plain(fault), icon=":material/edit_document:")


def _card(lesson: Lesson, given: Collection[Place]) -> None:
    done, asked, step = answered(lesson, given)
    with st.container(border=True, key=f"cards lesson {lesson.key}"):
        st.markdown(f"**{lesson.title}** · {lesson.minutes} minutes")
        st.caption(lesson.summary)
        label = "Begin" if not done else "Look again" if done == asked else f"Go on ({done} of {asked} answered)"
        place = (lesson.key, lesson.steps[0].key if done == asked else step)
        st.button(label, key=f"begin {lesson.key}", on_click=go_to, args=(place,), icon=":material/play_arrow:")


def join_form() -> None:
    """Show the fields with which one joins a class; the code of the address is filled in."""
    st.markdown("#### Join a class", anchors=False)
    with st.form("join", border=True), show_errors():
        code = st.text_input("Code", value=said(CLASS)[:CODE_LENGTH], max_chars=CODE_LENGTH + 2, placeholder="ABC234")
        name = st.text_input("Nickname", max_chars=LONGEST_NAME, help="Your teacher sees it; other students do not.")
        st.caption(
            f"Your nickname, answers and their times are stored for up to {DAYS} days. Your teacher sees them. You "
            "need not use your real name."
        )
        if st.form_submit_button("Join", type="primary", width="stretch"):
            found = _by_code(code)
            join_class(ledger(), found.code, owner(), name)
            st.query_params.clear()
            st.query_params[CLASS] = found.code
            st.rerun()


def _by_code(code: str) -> LabClass:
    """The class with this code. Raises InvalidRequest if there is none, or after many wrong codes."""
    check_tries(owner(), network_address())
    found = find_class(ledger(), code)
    if found is None:
        note_wrong(owner(), network_address())
        raise InvalidRequest("There is no class with this code. Check it with your teacher.")
    return found


def _own_classes() -> None:
    taught, joined = classes_of(ledger(), owner())
    for title, classes in (("You teach", taught), ("You are in", joined)):
        if classes:
            st.markdown(f"**{title}**")
        for one in classes:
            label = f"{plain(one.title)} · {one.code}{' · ended' if one.ended else ''}"
            st.button(label, key=f"{title} {one.code}", on_click=_enter, args=(one.code,), icon=":material/groups:")


def _enter(code: str) -> None:
    st.query_params.clear()
    st.query_params[CLASS] = code


def _open_form(known: Mapping[str, Lesson]) -> None:
    with st.expander("Open a class", icon=":material/school:"), show_errors():
        title = st.text_input("Title", placeholder="Deep learning, group 2", key="class title")
        picked = st.multiselect(
            "Lessons",
            list(known),
            default=list(known)[:USUAL],
            format_func=lambda key: known[key].title,
            key="class lessons",
        )
        minutes = sum(known[key].minutes for key in picked)
        st.caption(f"{minutes} minutes together.")
        comma = st.radio("Decimal sign", ("point", "comma"), horizontal=True, key="class style") == "comma"
        sweep = _sweep_menu() if any(step.play == "sweep" for key in picked for step in known[key].steps) else None
        st.caption(
            f"Stored are nicknames, answers and their times. A class is deleted {DAYS} days after it was opened, or "
            "when you delete it."
        )
        if st.button("Open the class", type="primary", key="open class"):
            ordered = [key for key in known if key in picked]
            check_opening(network_address())
            made, key = open_class(ledger(), owner(), title, ordered, comma=comma, sweep=to_stored(sweep))
            note_opening(network_address())
            st.session_state[KEY_SHOWN] = (made.code, key)
            _enter(made.code)
            st.rerun()


def _sweep_menu() -> SweepRequest | None:
    """Draw the menu of sweeps that a class can run: the usual one, and the teacher's own; None for no sweep."""
    with show_errors():
        usual = lab_sweep()
        names = {usual.id: "Width of an MLP"}
        offered = {one.id: one for one in (usual, *dealt_sweeps(ledger(), owner()))}
        labels = {id: f"{names.get(id, one.title)}: {len(lab_cells(one))} parts" for id, one in offered.items()}
        chosen = st.selectbox(
            "Experiment of the class",
            [*offered, None],
            format_func=lambda id: labels[id] if id else "none",
            help="Each student runs one part. Sweeps that you asked for on the page Sweeps stand here, too.",
            key="class sweep",
        )
        return None if chosen is None else offered[chosen]
    return None


def key_form(lab: LabClass) -> None:
    """Show the field in which a teacher gives the key in another browser."""
    with st.expander("I teach this class", icon=":material/key:"), show_errors():
        key = st.text_input("Teacher's key", type="password", key="teacher key")
        if st.button("Use the key", key="use key"):
            check_tries(owner(), network_address())
            try:
                use_key(ledger(), lab.code, owner(), key)
            except InvalidRequest:
                note_wrong(owner(), network_address())
                raise
            st.rerun()
