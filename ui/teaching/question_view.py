"""A question of a lesson: widgets to answer it, the locked answer, and the truth once it is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from merging.teaching.answers import Given, class_answers, lock, own_answers
from merging.teaching.charts import answers_figure, answers_table
from merging.teaching.lesson import Lesson, Step
from merging.teaching.question import LAMBDAS, LONGEST, Answer, Question, in_words
from merging.teaching.truths import truth_of
from ui.shell.guard import show_errors
from ui.shell.look import draw, table_below
from ui.shell.markdown import plain
from ui.shell.state import ledger
from ui.teaching.curve_pad import curve_pad
from ui.teaching.seat import Seat


def question_view(seat: Seat, lesson: Lesson, step: Step) -> bool:
    """Show the question of a step; return whether its truth is shown."""
    question, place = step.question, (lesson.key, step.key)
    assert question is not None
    st.markdown(f"**{question.prompt}**")
    given = own_answers(ledger(), seat.code, seat.visitor).get(place)
    shown = seat.sees_truth(place, given is not None)
    if given is None and not seat.teaches and not shown:
        _ask(seat, lesson, step)
    elif given is None and not seat.teaches:
        st.caption("The answer was revealed before you gave one.")
    if given is not None:
        _locked(seat, question, given, shown)
    if shown:
        _truth(seat, step, given, place)
    return shown


def _ask(seat: Seat, lesson: Lesson, step: Step) -> None:
    """Draw the widgets and the button that locks the answer."""
    assert step.question is not None
    if seat.lab is not None and (seat.lab.paused or seat.lab.ended):
        st.info("This class has ended." if seat.lab.ended else "The teacher has paused the class.")
        return
    answer = answer_widget(step.question, f"answer {seat.code} {lesson.key} {step.key}")
    ready = answer is not None
    # The key names the step: a press that arrives after the class has moved on locks nothing at the new step.
    key = f"lock {seat.code} {lesson.key} {step.key}"
    if st.button("Lock my answer", type="primary", icon=":material/lock:", disabled=not ready, key=key):
        with show_errors():
            lock(ledger(), seat.code, seat.visitor, lesson, step, answer)
            st.rerun()
    then = "The result appears when your teacher reveals it." if seat.follows() else "Then you see the result."
    st.caption(f"A locked answer cannot be changed. {then}")


def answer_widget(question: Question, key: str) -> Any:
    """Draw the widgets of a question; return the answer, None while there is none."""
    middle = question.low + question.step * round((question.high - question.low) / 2 / question.step)
    unit = f" ({question.unit})" if question.unit else ""
    bounds: dict[str, Any] = {"min_value": question.low, "max_value": question.high, "step": question.step}
    bounds["format"] = "%g"
    if question.kind == "number":
        return st.slider(f"Your answer{unit}", value=middle, key=key, **bounds)
    if question.kind == "choice":
        return st.radio("Your answer", question.options, index=None, key=key)
    if question.kind == "order":
        label = "Your answer, in order: choose the first one first"
        chosen = st.multiselect(label, question.options, key=key, placeholder="Choose")
        return tuple(chosen) if len(chosen) == len(question.options) else None
    if question.kind == "text":
        text = st.text_area("Your answer", max_chars=LONGEST, key=key)
        return text if text.strip() else None
    st.caption(f"Draw with the pointer, or set the value at five places between A (λ = 0) and B (λ = 1){unit}.")
    sliders = [f"{key} {at}" for at in LAMBDAS]
    for name in sliders:
        st.session_state.setdefault(name, middle)
    curve_pad(question, [st.session_state[name] for name in sliders], f"{key} pad", sliders)
    for name, at, column in zip(sliders, LAMBDAS, st.columns(len(LAMBDAS)), strict=True):
        with column:
            st.slider(f"λ = {at:g}", key=name, **bounds)
    return tuple(st.session_state[name] for name in sliders)


def _locked(seat: Seat, question: Question, given: Given, shown: bool) -> None:
    answer = given.answer(question)
    words = "(the question has changed since)" if answer is None else in_words(question, answer, comma=seat.comma)
    with st.container(border=True):
        st.markdown(f":material/lock: **Your answer:** {plain(words)}")
        if not shown:
            st.caption("It is locked. The result appears here when your teacher reveals it.")


def _truth(seat: Seat, step: Step, given: Given | None, place: tuple[str, str]) -> None:
    """Show the truth beside one's own answer and those of the class."""
    question = step.question
    assert question is not None
    own = given.answer(question) if given is not None else None
    with show_errors():
        truth = truth_of(ledger(), question)
        if truth is not None:
            st.markdown(f":material/lightbulb: **The result:** {plain(in_words(question, truth, comma=seat.comma))}")
            if own is not None:
                _verdict(question, own, truth, seat.comma)
        others = class_views(seat, question, place)
        if question.kind == "curve" or (others and question.kind != "text"):
            answers_chart(question, others, truth, own)


def class_views(seat: Seat, question: Question, place: tuple[str, str]) -> list[Answer]:
    """The answers of the class to a question; [] outside classes."""
    if seat.lab is None:
        return []
    given = (one.answer(question) for one in class_answers(ledger(), seat.lab, place))
    return [answer for answer in given if answer is not None]


def answers_chart(
    question: Question, answers: Sequence[Answer], truth: Answer | None, own: Answer | None, *, large: float = 1.0
) -> None:
    """Draw the answers of a class, with a table of the same numbers. large: factor of all texts."""
    figure = answers_figure(question, answers, truth, own)
    draw(figure.enlarged(large) if large > 1 else figure, "answers", "answers", once=True, width="stretch")
    if answers:
        table_below("answers", partial(answers_table, question, answers), "How often each answer was given.")


def _verdict(question: Question, own: Answer, truth: Answer, comma: bool) -> None:
    right, off = question.is_right(own, truth), question.off(own, truth)
    far = "" if math.isnan(off) else f"You were {in_words(distance_of(question), off, comma=comma)} off"
    if question.kind == "curve":
        st.markdown(f"{far} on average.")
    elif right is None:
        st.markdown(f"{far}.")
    elif right:
        st.success(f"Right.{f' {far}.' if far else ''}", icon=":material/check_circle:")
    else:
        st.warning(f"Not quite.{f' {far}.' if far else ''}", icon=":material/cancel:")


def distance_of(question: Question) -> Question:
    """A question whose answer is a distance between two answers to this one, in its unit and steps."""
    unit = "points" if question.unit == "%" else question.unit
    return Question("number", question.prompt, unit=unit, low=question.low, high=question.high, step=question.step)
