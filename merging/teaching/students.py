"""Students of a class in the ledger: they join by code and nickname, and come back in the same browser. torch-free."""

from __future__ import annotations

import sqlite3
import time
import unicodedata
from dataclasses import dataclass

from merging.errors import InvalidRequest
from merging.jobs.ledger.connection import connect, transaction
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.owners import check_owner
from merging.teaching.classes import Place, as_place, check_running, check_teacher, is_teaching, note_change

MOST_STUDENTS = 200
LONGEST_NAME = 24
BLANK = str.maketrans("", "", "\u115f\u1160\u2800\u3164\uffa0")  # printable characters that look like a space
SEEN_EVERY = 20.0  # seconds between two notes that a student is there


@dataclass(frozen=True)
class Student:
    """A student. number: 1 for the first who joined.  hand: time when the hand was raised, 0 if it is down."""

    owner: str
    number: int
    nickname: str
    place: Place
    hand: float
    seen: float


def join_class(ledger: Ledger, code: str, owner: str, nickname: str) -> Student:
    """Join a class, or come back to it. Raises InvalidRequest if it ended, is full, or has this nickname already."""
    check_owner(owner)
    name = unicodedata.normalize("NFC", " ".join(nickname.split()))
    with connect(ledger.file) as db, transaction(db):
        row = check_running(db, code)
        known = db.execute("SELECT 1 FROM students WHERE class = ? AND owner = ?", (code, owner)).fetchone()
        if known is None:
            if is_teaching(db, code, owner):
                raise InvalidRequest("You teach this class in this browser. Join in another browser to try it.")
            if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
                raise InvalidRequest(f"A nickname has 1 to {LONGEST_NAME} characters.")
            if not _look(name) or unicodedata.category(name[0])[0] == "M":
                raise InvalidRequest("A nickname needs a character that can be seen at its beginning.")
            taken = db.execute("SELECT nickname FROM students WHERE class = ?", (code,)).fetchall()
            if len(taken) >= MOST_STUDENTS:
                raise InvalidRequest(f"This class has {MOST_STUDENTS} students, the limit.")
            if _look(name) in {_look(str(one["nickname"])) for one in taken}:
                raise InvalidRequest(f"Somebody in this class is called {name} already. Choose another nickname.")
            last = db.execute("SELECT COALESCE(MAX(number), 0) FROM students WHERE class = ?", (code,)).fetchone()[0]
            values = (code, owner, last + 1, name, *as_place(row["place"]), 0.0, time.time())
            db.execute("INSERT INTO students VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    found = find_student(ledger, code, owner)
    assert found is not None
    return found


def _look(name: str) -> str:
    """Text that is the same for names that look alike: in other case, composed otherwise, or with blank characters."""
    return unicodedata.normalize("NFKC", name).casefold().translate(BLANK).strip()


def find_student(ledger: Ledger, code: str, owner: str) -> Student | None:
    """This person as a student of the class, None if they did not join it."""
    with connect(ledger.file) as db:
        row = db.execute("SELECT * FROM students WHERE class = ? AND owner = ?", (code, owner)).fetchone()
    return None if row is None else _student(row)


def students_of(ledger: Ledger, code: str) -> list[Student]:
    """All students, in the order in which they joined."""
    with connect(ledger.file) as db:
        rows = db.execute("SELECT * FROM students WHERE class = ? ORDER BY number", (code,)).fetchall()
    return [_student(row) for row in rows]


def arrive(ledger: Ledger, code: str, student: Student, place: Place) -> None:
    """Note where a student is, and that they are there."""
    now = time.time()
    if student.place == place and 0 <= now - student.seen < SEEN_EVERY:
        return
    with connect(ledger.file) as db, transaction(db):
        update = "UPDATE students SET lesson = ?, step = ?, seen = ? WHERE class = ? AND owner = ?"
        db.execute(update, (*place, now, code, student.owner))


def remove(ledger: Ledger, code: str, teacher: str, student: str) -> None:
    """Remove a student (an owner) with all answers. Raises InvalidRequest for those who do not teach the class."""
    with connect(ledger.file) as db, transaction(db):
        check_teacher(db, code, teacher)
        db.execute("DELETE FROM answers WHERE class = ? AND owner = ?", (code, student))
        if db.execute("DELETE FROM students WHERE class = ? AND owner = ?", (code, student)).rowcount:
            note_change(db, code)


def raise_hand(ledger: Ledger, code: str, owner: str, up: bool) -> None:
    """Raise or lower a student's hand."""
    with connect(ledger.file) as db, transaction(db):
        update = "UPDATE students SET hand = ? WHERE class = ? AND owner = ?"
        db.execute(update, (time.time() if up else 0.0, code, owner))


def _student(row: sqlite3.Row) -> Student:
    place = (row["lesson"], row["step"])
    return Student(row["owner"], int(row["number"]), row["nickname"], place, float(row["hand"]), float(row["seen"]))
