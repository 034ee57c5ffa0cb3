"""Answers to the questions of lessons: locked when they are given, shown to all without names. torch-free.

A person who learns alone has the class "". Answers are never changed; only a teacher can reset a step for all.
"""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from functools import lru_cache

from merging.errors import InvalidRequest
from merging.jobs.ledger.connection import connect, transaction
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.owners import check_owner
from merging.teaching.classes import (
    TOGETHER,
    LabClass,
    Place,
    as_list,
    as_place,
    check_running,
    check_teacher,
    note_change,
)
from merging.teaching.lesson import Lesson, Step, lessons
from merging.teaching.question import Answer, Question, from_text, to_text

ALONE = ""  # the class of those who learn alone
MOST_ALONE, MOST_ALONE_IN_ALL = 200, 50_000  # answers that are kept of one person who learns alone, and of all of them


@dataclass(frozen=True)
class Given:
    """An answer that a person gave. at: time."""

    owner: str
    place: Place
    text: str
    at: float

    def answer(self, question: Question) -> Answer | None:
        """The answer; None if the lesson's question has changed since."""
        return from_text(question, self.text)


def lock(ledger: Ledger, code: str, owner: str, lesson: Lesson, step: Step, answer: object) -> None:
    """Store an answer, which stays as it is.

    Raises InvalidRequest if the answer is not one of the question, the person has answered already, or the class takes
    no answers to this step: it is paused or over, the answer is revealed, or the teacher is not there yet.
    """
    check_owner(owner)
    if step.question is None:
        raise InvalidRequest("This step asks nothing.")
    text, place = to_text(step.question.checked(answer)), (lesson.key, step.key)
    with connect(ledger.file) as db, transaction(db):
        if code != ALONE:
            _check_taken(db, code, owner, lesson, step)
        try:
            db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)", (code, owner, *place, text, time.time()))
        except sqlite3.IntegrityError:
            raise InvalidRequest("You have answered this question. An answer cannot be changed.") from None
        if code == ALONE:
            _forget_oldest(db, owner)
        else:
            note_change(db, code)


def own_answers(ledger: Ledger, code: str, owner: str) -> dict[Place, Given]:
    """Place -> all answers of one person in a class, or alone."""
    with connect(ledger.file) as db:
        rows = db.execute("SELECT * FROM answers WHERE class = ? AND owner = ?", (code, owner)).fetchall()
    return {one.place: one for one in map(_given, rows)}


def answers_at(ledger: Ledger, code: str, place: Place) -> list[Given]:
    """All answers of a class to one step, the earliest first."""
    with connect(ledger.file) as db:
        query = "SELECT * FROM answers WHERE class = ? AND lesson = ? AND step = ? ORDER BY rowid"
        return [_given(row) for row in db.execute(query, (code, *place)).fetchall()]


def class_answers(ledger: Ledger, found: LabClass, place: Place) -> list[Given]:
    """Those of `answers_at`, read once per change of the class, however many people look."""
    return _kept(ledger, found.code, found.version, found.created, place)


def every_answer(ledger: Ledger, code: str) -> list[Given]:
    """All answers of a class, the earliest first."""
    with connect(ledger.file) as db:
        query = "SELECT * FROM answers WHERE class = ? ORDER BY rowid"
        return [_given(row) for row in db.execute(query, (code,)).fetchall()]


def reset(ledger: Ledger, code: str, teacher: str, place: Place) -> None:
    """Delete all answers of a class to a step and hide its truth, so that it can be answered again.

    Raises InvalidRequest for those who do not teach the class.
    """
    with connect(ledger.file) as db, transaction(db):
        check_teacher(db, code, teacher)
        row = check_running(db, code)
        db.execute("DELETE FROM answers WHERE class = ? AND lesson = ? AND step = ?", (code, *place))
        left = json.dumps([one for one in as_list(row["shown"]) if one != "/".join(place)])
        db.execute("UPDATE classes SET shown = ?, version = version + 1 WHERE code = ?", (left, code))


def _check_taken(db: sqlite3.Connection, code: str, owner: str, lesson: Lesson, step: Step) -> None:
    """Raise InvalidRequest if the class takes no answer of this person to this step now."""
    row = check_running(db, code)
    if not db.execute("SELECT 1 FROM students WHERE class = ? AND owner = ?", (code, owner)).fetchone():
        raise InvalidRequest("Join the class before you answer.")
    keys = as_list(row["lessons"])
    if lesson.key not in keys:
        raise InvalidRequest("This lesson is not one of the class.")
    if row["paused"]:
        raise InvalidRequest("The teacher has paused the class. Wait a moment.")
    if f"{lesson.key}/{step.key}" in as_list(row["shown"]):
        raise InvalidRequest("The answer is revealed already, so none is taken any more.")
    if row["pace"] == TOGETHER and _order(keys, (lesson.key, step.key)) > _order(keys, as_place(row["place"])):
        raise InvalidRequest("The class is not there yet. Wait for your teacher.")


def _order(keys: list[str], place: Place) -> tuple[int, int]:
    """Position of a place in the lessons of a class."""
    lesson, known = place[0], lessons()
    if lesson not in keys or lesson not in known:
        return (-1, 0)
    return keys.index(lesson), known[lesson].place(place[1])


def _forget_oldest(db: sqlite3.Connection, owner: str) -> None:
    """Keep the latest answers of those who learn alone; by their numbers, as clocks are set back."""
    for who, values, most in (("AND owner = ?", (owner,), MOST_ALONE), ("", (), MOST_ALONE_IN_ALL)):
        rows = f"FROM answers WHERE class = '' {who}"
        db.execute(
            f"DELETE {rows} AND rowid <= (SELECT rowid {rows} ORDER BY rowid DESC LIMIT 1 OFFSET ?)",
            (*values, *values, most),
        )


@lru_cache(maxsize=32)
def _kept(ledger: Ledger, code: str, version: int, created: float, place: Place) -> list[Given]:
    return answers_at(ledger, code, place)


def _given(row: sqlite3.Row) -> Given:
    return Given(row["owner"], (row["lesson"], row["step"]), row["answer"], float(row["at"]))
