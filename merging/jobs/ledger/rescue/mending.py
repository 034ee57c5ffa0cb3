"""Mending of damaged values in the rows of a ledger, so that one of them breaks no list and deletes nothing."""

from __future__ import annotations

import sqlite3
import time

from merging.jobs.requests.base import LANES, LONG

NUMBERS = {  # table -> its numeric columns
    "jobs": ("created", "started", "finished", "deadline", "fraction", "attempts", "run", "interrupted", "measured"),
    "stages": ("number", "began", "seconds"),
    "owners": ("asked",),
    "served": ("at",),
    "models": ("created", "size"),
    "artifacts": ("size",),
    "pictures": ("unit",),
    "marks": ("starred", "archived"),
    "guesses": ("unit", "guessed", "correct", "at"),
    "dispatchers": ("pid", "born", "seen"),
    "workers": ("memory_used", "memory_total", "gpu_memory_used", "gpu_memory_total", "seen"),
    "classes": ("created", "paused", "ended", "version"),
    "students": ("number", "hand", "seen"),
    "answers": ("at",),
}
TEXTS = {  # table -> columns with texts that pages show; damage turns texts into blobs
    "jobs": ("title", "message", "stage", "worker", "hidden"),
    "stages": ("points",),
    "marks": ("name", "note"),
    "owners": ("batch", "title"),
    "classes": ("title", "lessons", "place", "shown", "pace", "sweep", "style"),
    "students": ("nickname", "lesson", "step"),
}
NUMBER_KEYS = {("stages", "number"), ("pictures", "unit"), ("guesses", "unit")}  # parts of keys, as in KEYS
KEYS = {  # table -> columns that name other rows, people or files; a row in which one is no text is of no use
    "jobs": ("id",),
    "owners": ("job", "owner"),
    "marks": ("job", "owner"),
    "stages": ("job",),
    "artifacts": ("job", "name", "sha256"),
    "pictures": ("job", "question", "sha256"),
    "models": ("id", "sha256", "owner"),
    "made_of": ("made", "part"),
    "stopped": ("batch",),
    "guesses": ("owner", "run", "layer"),
    "served": ("owner",),
    "dispatchers": ("id", "host"),
    "classes": ("code", "secret"),
    "teachers": ("class", "owner"),
    "students": ("class", "owner"),
    "answers": ("class", "owner", "lesson", "step", "answer"),
}
# Table, column and condition of rows that are deleted when they are old.
AGEING = (("classes", "created", "TRUE"), ("answers", "at", "class = ''"))
LARGEST = 1e15  # larger numbers are damage; a flipped bit in an exponent gives 1e163
YEARS, AHEAD = 2 * 365 * 86_400, 86_400  # seconds; a time that is so long ago, or so far ahead, is damage, not age


def mend(db: sqlite3.Connection) -> None:
    """Delete rows with a damaged key; set damaged numbers, by which jobs are sorted, to 0 and damaged texts to ""."""
    for table, columns in KEYS.items():
        broken = " OR ".join(f"typeof({column}) != 'text'" for column in columns)
        db.execute(f"DELETE FROM {table} WHERE {broken}")
    for table, columns in NUMBERS.items():
        for column in columns:
            # Two keys that become 0 would be equal.
            change = "DELETE FROM {0}" if (table, column) in NUMBER_KEYS else "UPDATE {0} SET {1} = 0"
            broken = f"{column} NOT BETWEEN 0 AND {LARGEST}"  # texts, too
            db.execute(f"{change.format(table, column)} WHERE {broken}")
    db.execute("UPDATE jobs SET fraction = 1 WHERE fraction > 1")
    db.execute("UPDATE jobs SET started = created WHERE state = 'running' AND started IS NULL")
    mend_ages(db)
    for table, columns in TEXTS.items():
        for column in columns:
            db.execute(f"UPDATE {table} SET {column} = '' WHERE typeof({column}) = 'blob'")
    db.execute("UPDATE jobs SET title = kind WHERE title = ''")
    db.execute("UPDATE jobs SET private = 1 WHERE typeof(private) IN ('text', 'blob')")
    db.execute(f"UPDATE jobs SET lane = '{LONG}' WHERE lane NOT IN ({', '.join('?' * len(LANES))})", LANES)
    # These numbers are read from the reports again.
    wrong = "typeof(accuracy) NOT IN ('real', 'null') OR typeof(barrier) NOT IN ('real', 'null')"
    db.execute(f"UPDATE jobs SET measured = 0, accuracy = NULL, barrier = NULL WHERE {wrong}")
    db.execute("UPDATE jobs SET place = owner WHERE place = ''")  # rows of an earlier version, which had no places


def mend_ages(db: sqlite3.Connection) -> None:
    """Set damaged times by which rows are deleted to the present, so that nothing is deleted as old that is not."""
    now = time.time()
    for table, column, which in AGEING:
        update = f"UPDATE {table} SET {column} = ? WHERE {which} AND {column} NOT BETWEEN ? AND ?"
        db.execute(update, (now, now - YEARS, now + AHEAD))
