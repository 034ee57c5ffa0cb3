"""Classes in the ledger: a teacher opens one, people join it by its code, and the teacher leads it. torch-free.

Everything is in tables of the ledger, so a class goes on after any restart. Nicknames are all that is stored of people.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from merging.errors import InvalidRequest
from merging.jobs.ledger.connection import connect, transaction
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.owners import check_owner
from merging.jobs.ledger.rescue.mending import mend_ages

ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # without I, L, O, 0 and 1, which are misread
CODE_LENGTH = 6
PACES = TOGETHER, FREE = "together", "free"
DAYS = 30  # a class is deleted so many days after it was opened
MOST_CLASSES, MOST_OWN, MOST_OPEN = 500, 20, 5  # in all; per teacher, and those of them that have not ended
FRESH = 3_600.0  # seconds for which a class without students is kept when there is no room for another one
UNUSED = 86_400.0  # the same for one without answers
LONGEST_TITLE = 80
Place = tuple[str, str]  # keys of a lesson and of one of its steps


@dataclass(frozen=True)
class LabClass:
    """A class.

    Attributes:
        code: six characters by which people join.
        title: its name.
        lessons: keys of its lessons, in order.
        comma: whether numbers are written with a decimal comma.
        pace: TOGETHER (all are where the teacher is) or FREE (everybody goes on alone).
        place: the teacher's place.
        shown: steps whose answer is revealed.
        sweep: the sweep whose cells are dealt out, as JSON of its request; "" for none.
        paused: whether no answers are taken at the moment.
        ended: time of its end, 0 while it runs.
        created: time of its opening.
        version: grows with every change of the class and with every answer.
    """

    code: str
    title: str
    lessons: tuple[str, ...]
    comma: bool
    pace: str
    place: Place
    shown: frozenset[Place]
    sweep: str
    paused: bool
    ended: float
    created: float
    version: int

    @property
    def state(self) -> tuple[object, ...]:
        """What decides what students see; equal states look alike."""
        return self.pace, self.place, self.shown, self.paused, self.ended


def open_class(
    ledger: Ledger, owner: str, title: str, lessons: Sequence[str], *, comma: bool = False, sweep: str = ""
) -> tuple[LabClass, str]:
    """Open a class; return it and the teacher's key, of which only a hash is stored.

    Raises InvalidRequest if the title or the lessons are missing, or there are too many classes.
    """
    check_owner(owner)
    title = " ".join(title.split())
    if not 1 <= len(title) <= LONGEST_TITLE or not title.isprintable() or not lessons:
        raise InvalidRequest(f"A class needs a title of 1 to {LONGEST_TITLE} characters and at least one lesson.")
    code, key = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH)), secrets.token_urlsafe(12)
    with connect(ledger.file) as db, transaction(db):
        _forget(db)
        mine = "SELECT ended FROM teachers JOIN classes ON class = code WHERE owner = ?"
        own = [bool(row["ended"]) for row in db.execute(mine, (owner,)).fetchall()]
        if own.count(False) >= MOST_OPEN or len(own) >= MOST_OWN:
            raise InvalidRequest(f"You have {own.count(False)} open and {own.count(True)} ended classes. Delete one.")
        if db.execute("SELECT COUNT(*) FROM classes").fetchone()[0] >= MOST_CLASSES:
            _delete(db, _empty(db))
        if db.execute("SELECT COUNT(*) FROM classes").fetchone()[0] >= MOST_CLASSES:
            raise InvalidRequest(f"There are {MOST_CLASSES} classes here, the limit. Delete old ones.")
        values = (code, title, json.dumps(list(lessons)), "comma" if comma else "point", _hash(key), TOGETHER)
        db.execute(
            "INSERT INTO classes VALUES (?, ?, ?, ?, ?, ?, ?, '[]', ?, 0, 0, ?, 0)",
            (*values, f"{lessons[0]}/", sweep, time.time()),
        )
        db.execute("INSERT INTO teachers (class, owner) VALUES (?, ?)", (code, owner))
    found = find_class(ledger, code)
    assert found is not None
    return found, key


def as_code(text: str) -> str:
    """A code as it was typed: capital letters, without spaces and hyphens."""
    return "".join(text.upper().split()).replace("-", "").encode(errors="replace").decode()[:CODE_LENGTH]


def find_class(ledger: Ledger, code: str) -> LabClass | None:
    """The class with this code, None if there is none (any more)."""
    with connect(ledger.file) as db:
        row = db.execute("SELECT * FROM classes WHERE code = ?", (as_code(code),)).fetchone()
    return None if row is None or row["created"] < time.time() - DAYS * 86_400 else _class(row)


def classes_of(ledger: Ledger, owner: str) -> tuple[list[LabClass], list[LabClass]]:
    """The classes that this person teaches, and those that they joined, newest first."""
    with connect(ledger.file) as db:
        found = [
            db.execute(
                f"SELECT classes.* FROM classes JOIN {table} ON class = code WHERE owner = ? AND created > ?"
                " ORDER BY created DESC",
                (owner, time.time() - DAYS * 86_400),
            ).fetchall()
            for table in ("teachers", "students")
        ]
    taught, joined = ([_class(row) for row in rows] for rows in found)
    return taught, joined


def is_teacher(ledger: Ledger, code: str, owner: str) -> bool:
    """Whether this person opened the class, or gave its key in this browser."""
    with connect(ledger.file) as db:
        return is_teaching(db, code, owner)


def use_key(ledger: Ledger, code: str, owner: str, key: str) -> None:
    """Make this person a teacher of the class. Raises InvalidRequest if the key is wrong."""
    check_owner(owner)
    with connect(ledger.file) as db, transaction(db):
        row = db.execute("SELECT secret FROM classes WHERE code = ?", (code,)).fetchone()
        if row is None or not hmac.compare_digest(row["secret"], _hash(key.strip())):
            raise InvalidRequest("This is not the key of this class. The key was shown when the class was opened.")
        db.execute("INSERT OR IGNORE INTO teachers (class, owner) VALUES (?, ?)", (code, owner))


def lead(
    ledger: Ledger,
    code: str,
    teacher: str,
    *,
    place: Place | None = None,
    reveal: Place | None = None,
    pace: str | None = None,
    paused: bool | None = None,
    ended: bool = False,
) -> None:
    """Change a class as its teacher: what is not None. Raises InvalidRequest for others, or after its end.

    reveal: a step whose answer is shown from now on.
    """
    if pace not in (None, *PACES):
        raise InvalidRequest(f"A pace is one of {', '.join(PACES)}.")
    changes: dict[str, object] = {
        "place": "/".join(place) if place is not None else None,
        "pace": pace,
        "paused": None if paused is None else int(paused),
        "ended": time.time() if ended else None,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    with connect(ledger.file) as db, transaction(db):
        check_teacher(db, code, teacher)
        row = check_running(db, code)
        if reveal is not None:
            given["shown"] = json.dumps(sorted({*as_list(row["shown"]), "/".join(reveal)}))
        sets = "".join(f"{name} = ?, " for name in given)
        db.execute(f"UPDATE classes SET {sets}version = version + 1 WHERE code = ?", (*given.values(), code))


def delete_class(ledger: Ledger, code: str, teacher: str) -> None:
    """Delete a class with its students and answers. Raises InvalidRequest for those who do not teach it."""
    with connect(ledger.file) as db, transaction(db):
        check_teacher(db, code, teacher)
        _delete(db, [code])


def forget_old(ledger: Ledger) -> None:
    """Delete classes, and answers that were given outside classes, that are older than DAYS."""
    with connect(ledger.file) as db, transaction(db):
        _forget(db)


def _empty(db: sqlite3.Connection) -> list[str]:
    """Codes of classes that may make room: without students after FRESH seconds, without answers after UNUSED."""
    query = (
        "SELECT code FROM classes WHERE created < ? AND code NOT IN (SELECT class FROM students)"
        " OR created < ? AND code NOT IN (SELECT class FROM answers)"
    )
    now = time.time()
    return [row["code"] for row in db.execute(query, (now - FRESH, now - UNUSED)).fetchall()]


def _forget(db: sqlite3.Connection) -> None:
    mend_ages(db)
    before = time.time() - DAYS * 86_400
    _delete(db, [row["code"] for row in db.execute("SELECT code FROM classes WHERE created < ?", (before,)).fetchall()])
    db.execute("DELETE FROM answers WHERE class = '' AND at < ?", (before,))


def _delete(db: sqlite3.Connection, codes: Sequence[str]) -> None:
    for code in codes:
        db.execute("DELETE FROM answers WHERE class = ?", (code,))
        db.execute("DELETE FROM classes WHERE code = ?", (code,))


def check_running(db: sqlite3.Connection, code: str) -> sqlite3.Row:
    """The row of a class. Raises InvalidRequest if there is none, or it has ended. Call it in a transaction."""
    row: sqlite3.Row | None = db.execute("SELECT * FROM classes WHERE code = ?", (code,)).fetchone()
    if row is None:
        raise InvalidRequest("There is no class with this code. Check it, or ask your teacher: classes are deleted.")
    if row["ended"]:
        raise InvalidRequest("This class has ended. Its answers can still be looked at.")
    return row


def check_teacher(db: sqlite3.Connection, code: str, owner: str) -> None:
    """Raise InvalidRequest if this person does not teach the class."""
    if not is_teaching(db, code, owner):
        raise InvalidRequest("Only the teacher of this class can do that. Give the teacher's key in this browser.")


def is_teaching(db: sqlite3.Connection, code: str, owner: str) -> bool:
    """Whether this person teaches the class, for use in a transaction."""
    return bool(db.execute("SELECT 1 FROM teachers WHERE class = ? AND owner = ?", (code, owner)).fetchone())


def note_change(db: sqlite3.Connection, code: str) -> None:
    """Count a change of a class, so that those who look at it look again."""
    db.execute("UPDATE classes SET version = version + 1 WHERE code = ?", (code,))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def as_list(text: str) -> list[str]:
    """The texts of a JSON list; [] if the row is damaged."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def as_place(text: str) -> Place:
    """The place that "lesson/step" names."""
    lesson, _, step = text.partition("/")
    return lesson, step


def _class(row: sqlite3.Row) -> LabClass:
    return LabClass(
        row["code"],
        row["title"],
        tuple(as_list(row["lessons"])),
        row["style"] == "comma",
        row["pace"] if row["pace"] in PACES else TOGETHER,
        as_place(row["place"]),
        frozenset(map(as_place, as_list(row["shown"]))),
        row["sweep"],
        bool(row["paused"]),
        float(row["ended"]),
        float(row["created"]),
        int(row["version"]),
    )
