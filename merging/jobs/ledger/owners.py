"""Who asks. People are known by a hash of the random name in their cookie, which the ledger does not hold."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from typing import Any

from merging.errors import InvalidRequest, TooManyJobs
from merging.jobs.limits import Limits, teachers

LONGEST = 80  # characters
COOKIE = re.compile(r"[0-9a-f]{32}")
COLUMNS = (("jobs", "owner"), ("jobs", "place"), ("owners", "owner"), ("served", "owner"), ("models", "owner"))


def owner_of(cookie: str) -> str:
    """The owner whose cookie holds this random name."""
    return f"v-{hashlib.sha256(cookie.encode()).hexdigest()[:32]}"


def shared_turn(owner: str, address: str) -> str:
    """With whom an owner shares turns: those of one address of the network; alone, on this machine."""
    return f"@{address}" if address else owner


def hidden(name: str) -> str:
    """The owner whom an earlier version stored by the name in the cookie; any other name as it is."""
    return owner_of(name) if COOKIE.fullmatch(name) else name


def check_owner(owner: str) -> None:
    """Raises InvalidRequest where an owner's name is none."""
    if not isinstance(owner, str) or not 1 <= len(owner) <= LONGEST:
        raise InvalidRequest(f"An owner's name has 1 to {LONGEST} characters.")


def check_caps(db: sqlite3.Connection, limits: Limits, id: str, owner: str, address: str) -> None:
    """Raises TooManyJobs where the owner, the address that is asked from ("" for this machine), or all together have
    too many open jobs for another one. id: of that one, which does not count."""

    def count(which: str = "", *values: str) -> int:
        asked = f"SELECT COUNT(DISTINCT id) FROM jobs JOIN owners ON job = id WHERE state IN (?, ?) AND id != ? {which}"
        return int(db.execute(asked, ("queued", "running", id, *values)).fetchone()[0])

    own = count("AND owners.owner = ?", owner)
    if own >= limits.open_jobs * (limits.teacher_times if owner in teachers() else 1):
        jobs = f"{own} open job{'s' * (own > 1)}"
        raise TooManyJobs(f"You have {jobs}, the most one may have. Wait for one to end, or cancel one.")
    if address and count("AND address = ?", address) >= limits.address_jobs:
        raise TooManyJobs(
            f"{limits.address_jobs:.0f} open jobs were asked for from your address in the network, the most there may "
            "be. Wait for one to end."
        )
    if count() >= limits.all_jobs:
        raise TooManyJobs(f"{limits.all_jobs:.0f} jobs are open here, the most there may be. Try again later.")


def as_table(text: Any) -> dict[str, Any]:
    """A JSON text as a dictionary, empty where it is none: a row may be damaged."""
    try:
        table = json.loads(text)
    except (ValueError, TypeError):
        return {}
    return table if isinstance(table, dict) else {}


def hide_cookies(db: sqlite3.Connection) -> None:
    """Put hashes in the place of the cookies' own names, which earlier versions stored. Inside a transaction."""
    for table, column in COLUMNS:
        for (name,) in db.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall():
            if isinstance(name, str) and hidden(name) != name:
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (hidden(name), name))
    for id, text in db.execute("SELECT id, entry FROM models").fetchall():
        entry = as_table(text)
        if isinstance(entry.get("owner"), str) and hidden(entry["owner"]) != entry["owner"]:
            told = json.dumps({**entry, "owner": hidden(entry["owner"])}, ensure_ascii=False)
            db.execute("UPDATE models SET entry = ? WHERE id = ?", (told, id))
