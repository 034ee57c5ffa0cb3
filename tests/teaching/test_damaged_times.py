"""Times of a class in which bits are flipped: no class is deleted for them, and all that shows them works."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from merging.jobs.ledger.connection import close_spares, connect
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.rescue.mending import LARGEST, NUMBERS
from merging.teaching.answers import ALONE, every_answer, lock, own_answers
from merging.teaching.classes import DAYS, LabClass, classes_of, find_class, forget_old, lead, open_class
from merging.teaching.lesson import lessons
from merging.teaching.students import join_class, students_of
from merging.teaching.worksheet import class_csv

TEACHER, ADA = "v-teacher", "v-ada"
LESSON = lessons()["naive"]
STEP = next(step for step in LESSON.steps if step.question is not None and step.question.kind == "number")
TOP = range(52, 64)  # bits of a float: its exponent and its sign
ODD = ["text", b"\x00\xff", float("inf"), float("-inf"), -(2**63), 2**63 - 1]


def flipped(moment: float, bit: int) -> float:
    (whole,) = struct.unpack("<Q", struct.pack("<d", moment))
    return float(struct.unpack("<d", struct.pack("<Q", whole ^ 1 << bit))[0])


DAMAGED = [*(flipped(time.time(), bit) for bit in TOP), *ODD]


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(tmp_path)


@pytest.fixture
def lab(ledger) -> LabClass:
    """A class with one student, who has answered there and alone."""
    made, _ = open_class(ledger, TEACHER, "Deep learning", ["naive"])
    lead(ledger, made.code, TEACHER, place=("naive", LESSON.steps[-1].key))
    join_class(ledger, made.code, ADA, "Ada")
    assert STEP.question is not None
    for code in (made.code, ALONE):
        lock(ledger, code, ADA, LESSON, STEP, STEP.question.low)
    return made


def again(home: Path) -> Ledger:
    """The ledger as a program finds it that starts now."""
    close_spares()
    return Ledger(home)


@pytest.mark.parametrize("number", range(len(DAMAGED)))
@pytest.mark.parametrize("starts", [False, True])
def test_no_class_and_no_answer_is_deleted_for_a_damaged_time(tmp_path, ledger, lab, number, starts):
    with connect(ledger.file) as db:
        db.execute("UPDATE classes SET created = ?", (DAMAGED[number],))
        db.execute("UPDATE answers SET at = ? WHERE class = ''", (DAMAGED[number],))
    ledger = again(tmp_path) if starts else ledger
    forget_old(ledger)
    found = find_class(ledger, lab.code)
    assert found is not None and abs(found.created - time.time()) < 60
    assert [one.code for one in classes_of(ledger, TEACHER)[0]] == [lab.code]
    assert len(students_of(ledger, lab.code)) == len(every_answer(ledger, lab.code)) == 1
    assert len(own_answers(ledger, ALONE, ADA)) == 1


def test_what_is_old_is_deleted_still(ledger, lab):
    with connect(ledger.file) as db:
        for table, column in (("classes", "created"), ("answers", "at")):
            db.execute(f"UPDATE {table} SET {column} = ?", (time.time() - DAYS * 86_400 - 60,))
    forget_old(ledger)
    assert find_class(ledger, lab.code) is None and not own_answers(ledger, ALONE, ADA)


@pytest.mark.parametrize("bit", TOP)
def test_a_table_of_answers_is_made_whatever_their_times(ledger, lab, bit):
    with connect(ledger.file) as db:
        db.execute("UPDATE answers SET at = ?", (flipped(time.time(), bit),))
    assert "Ada" in class_csv(ledger, lab, lessons(), students_of(ledger, lab.code))


@pytest.mark.parametrize("value", ODD)
def test_every_number_is_one_that_pages_can_show_when_a_program_starts(tmp_path, ledger, lab, value):
    columns = [(table, column) for table in ("classes", "students", "answers") for column in NUMBERS[table]]
    with connect(ledger.file) as db:
        for table, column in columns:
            db.execute(f"UPDATE {table} SET {column} = ?", (value,))
    ledger = again(tmp_path)
    with connect(ledger.file) as db:
        for table, column in columns:
            (found,) = db.execute(f"SELECT {column} FROM {table}").fetchone()
            assert isinstance(found, int | float) and 0 <= found <= LARGEST, (table, column)
    found = find_class(ledger, lab.code)
    assert found is not None and not found.paused
    assert "Ada" in class_csv(ledger, lab, lessons(), students_of(ledger, lab.code))
