"""One step of a lesson: text, figure, something to try, question and result; and the way to the next step."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import streamlit as st

from merging.errors import InvalidSetting
from merging.figures.figure import Figure
from merging.figures.series import figure_table
from merging.teaching.classes import Place
from merging.teaching.lesson import Lesson, Shown, Step, Task
from merging.teaching.shown import shown_figure
from merging.teaching.sources import find_run
from ui.shell.chosen import PREFIX
from ui.shell.guard import show_errors
from ui.shell.kept import kept
from ui.shell.look import draw, table_below
from ui.shell.screens import SCREENS, link, screen
from ui.shell.state import ledger
from ui.teaching.play import play
from ui.teaching.question_view import question_view
from ui.teaching.seat import Seat, follow_class, go_to


def lesson_view(seat: Seat, lesson: Lesson, step: Step) -> None:
    """Show a step of a lesson."""
    number = lesson.place(step.key)
    st.progress((number + 1) / len(lesson.steps), text=f"{lesson.title} · step {number + 1} of {len(lesson.steps)}")
    st.markdown(f"### {step.title}", anchors=False)
    st.markdown(step.text)
    if step.shown is not None:
        lesson_figure(step.shown, "before", opens=False)
    if step.play:
        with show_errors():
            play(step.play, seat)
    if step.question is not None and question_view(seat, lesson, step):
        reveal(step)
    if step.task is not None:
        _task(step.task)
    if not seat.teaches:
        _ways(seat, lesson, number)


def reveal(step: Step, *, large: float = 1.0) -> None:
    """Show the explanation and the figure that go with the truth. large: factor of the texts in the figure."""
    if step.reveal:
        st.markdown(step.reveal)
    if step.shown_then is not None:
        lesson_figure(step.shown_then, "after", large=large)


def lesson_figure(shown: Shown, key: str, *, large: float = 1.0, opens: bool = True) -> None:
    """Draw a figure of a lesson, and its numbers as a table.

    large: factor of its texts.  opens: whether a link leads to its run, whose page shows all results at once.
    """
    with show_errors():
        figure = shown_figure(ledger(), shown)
        drawn = kept(Figure.enlarged, figure, large) if large > 1 else figure
        draw(drawn, f"lesson {key}", shown.figure, width="stretch")
        if shown.run and opens:
            job = find_run(ledger(), shown.run)
            page, name = ("sweeps", "sweep") if job.kind == "sweep" else ("merge", "run")
            link(page, "Open this run", icon=":material/open_in_new:", **{name: job.id[:PREFIX]})
        if kept(figure_table, figure):
            table_below(key, partial(kept, figure_table, figure), figure.alt)


def _task(task: Task) -> None:
    with show_errors():
        if task.page not in SCREENS:
            raise InvalidSetting(f"The lesson opens the page {task.page!r}; known: {', '.join(SCREENS)}")
        values = dict(task.values)
        if "run" in values:
            job = find_run(ledger(), values.pop("run"))
            values["sweep" if job.kind == "sweep" else "run"] = job.id[:PREFIX]
        with st.container(border=True):
            st.page_link(screen(task.page), label=task.label, icon=":material/build:", query_params=values)


def _ways(seat: Seat, lesson: Lesson, number: int) -> None:
    """Draw Back and Next; a student who follows the class goes no further than the class."""
    last = seat.lab.place if seat.lab is not None and seat.follows() else None
    ahead = last is None or (lesson.key == last[0] and number < lesson.place(last[1]))
    with st.container(horizontal=True):
        if number:
            _way("Back", ":material/arrow_back:", (lesson.key, lesson.steps[number - 1].key))
        if number + 1 < len(lesson.steps):
            if ahead:
                _way("Next", ":material/arrow_forward:", (lesson.key, lesson.steps[number + 1].key), primary=True)
        elif ahead:
            _after(seat, lesson)
    if last is not None and ahead:
        st.button("Go to the class", icon=":material/groups:", key="to class", on_click=follow_class)
    elif last is not None:
        st.caption("Your teacher takes the class to the next step.")


def _way(label: str, icon: str, place: Place, *, primary: bool = False) -> None:
    kind = "primary" if primary else "secondary"
    st.button(label, icon=icon, key=f"way {label}", on_click=go_to, args=(place,), type=kind)  # type: ignore[arg-type]


def _after(seat: Seat, lesson: Lesson) -> None:
    """Draw the way to the next lesson."""
    keys = list(seat.lessons())
    following = keys[keys.index(lesson.key) + 1 :]
    if following:
        one = seat.lessons()[following[0]]
        _way(f"Next lesson: {one.title}", ":material/arrow_forward:", (one.key, one.steps[0].key), primary=True)
    else:
        st.caption("This was the last lesson. Your worksheet is under Take home.")


def answered(lesson: Lesson, given: Collection[Place]) -> tuple[int, int, str]:
    """Number of questions of a lesson that a person answered, of all, and the key of the step to go on with.

    given: the places of all answers of this person.
    """
    asked = [step for step in lesson.steps if step.question is not None]
    done = [step.key for step in asked if (lesson.key, step.key) in given]
    place = 1 + max((lesson.place(key) for key in done), default=-1)
    return len(done), len(asked), lesson.steps[min(place, len(lesson.steps) - 1)].key
