"""Owners of jobs: people are identified by a hash of the random name in their cookie, never by the name itself."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from merging.errors import InvalidRequest, TooManyJobs
from merging.jobs.limits import Limits, teachers
from merging.jobs.requests.base import PLANNED
from merging.jobs.requests.sweep import SWEEP

if TYPE_CHECKING:
    from merging.jobs.requests.base import Request

LONGEST = 80  # largest number of characters of an owner's name
COOKIE = re.compile(r"[0-9a-f]{32}")
COLUMNS = (("jobs", "owner"), ("jobs", "place"), ("owners", "owner"), ("served", "owner"), ("models", "owner"))


def owner_of(cookie: str) -> str:
    """Owner's id for the random name in a cookie."""
    return f"v-{hashlib.sha256(cookie.encode()).hexdigest()[:32]}"


def network_of(address: str) -> str:
    """Return the address by which visitors are counted: an IPv4 address, or the /64 network of an IPv6 address.

    One household or computer has a whole /64 network (RFC 6177), so single addresses in it do not distinguish people.
    """
    try:
        read = ipaddress.ip_address(address)
    except ValueError:
        return address
    if read.version == 4 or read.is_loopback:
        return address
    if read.ipv4_mapped is not None:
        return str(read.ipv4_mapped)
    return str(ipaddress.ip_network((read, 64), strict=False))


def shared_turn(owner: str, address: str) -> str:
    """Key of the owners who share turns in the queue: their network address, or one owner alone on this machine."""
    return f"@{address}" if address else owner


def hidden(name: str) -> str:
    """Owner's id if the name is a cookie's name, as earlier versions stored it; any other name unchanged."""
    return owner_of(name) if COOKIE.fullmatch(name) else name


def check_owner(owner: str) -> None:
    """Raise InvalidRequest if the owner's name is not a text of 1 to LONGEST characters."""
    if not isinstance(owner, str) or not 1 <= len(owner) <= LONGEST:
        raise InvalidRequest(f"An owner's name must have 1 to {LONGEST} characters.")


def check_caps(
    db: sqlite3.Connection, limits: Limits, id: str, lane: str, owner: str, address: str, *, part: bool = False
) -> None:
    """Check the caps on open jobs before a new job.

    Args:
        db: the ledger.
        limits: the caps.
        id: id of the new job, which is not counted.
        lane: its lane. Sweeps are counted by themselves.
        owner: who submits the job.
        part: whether it is a part of a sweep. The parts are counted by themselves, so that sweeps stop nothing else.
        address: network address of the owner, "" for this machine.
    Raises:
        TooManyJobs: the owner, the address or all owners together have too many open jobs.
    """

    def count(which: str = "", *values: str) -> int:
        query = f"SELECT COUNT(DISTINCT id) FROM jobs JOIN owners ON job = id WHERE state IN (?, ?) AND id != ? {which}"
        return int(db.execute(query, ("queued", "running", id, *values)).fetchone()[0])

    if lane == PLANNED:  # a sweep does no work itself; its parts are counted
        what, which, end = "sweep", f"AND lane = '{PLANNED}'", "pause"
        person, place, all_people = limits.open_sweeps, limits.address_sweeps, limits.all_sweeps
    else:
        what, end = "job", "cancel"
        which = f"AND lane != '{PLANNED}' AND (instr(batch, '{SWEEP}') > 0) = {int(part)}"
        person = limits.open_jobs * (limits.teacher_times if owner in teachers() else 1)
        place, all_people = limits.address_jobs, limits.all_jobs
    own = count(f"{which} AND owners.owner = ?", owner)
    if own >= person:
        jobs = f"{own} open {what}{'s' * (own > 1)}"
        raise TooManyJobs(f"You have {jobs}, the limit per person. Wait until one ends, or {end} one.")
    if address and count(f"{which} AND address = ?", address) >= place:
        raise TooManyJobs(
            f"Your network address has {place:.0f} open {what}s, the limit per address. Wait until one ends."
        )
    if count(which) >= all_people:
        raise TooManyJobs(
            f"{all_people:.0f} {what}s are open here, the limit for all people together. Try again later."
        )


def as_table(text: Any) -> dict[str, Any]:
    """JSON text as a dictionary; an empty one if the text holds none, because a row may be damaged."""
    try:
        table = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def hide_cookies(db: sqlite3.Connection) -> None:
    """Replace the cookies' names that earlier versions stored by hashes. Call it inside a transaction."""
    for table, column in COLUMNS:
        for (name,) in db.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall():
            lane, space, who = name.rpartition(" ") if isinstance(name, str) else ("", "", "")  # turns are kept by lane
            if hidden(who) != who:
                new = f"{lane}{space}{hidden(who)}"
                db.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {column} = ?", (new, name))
                # Rows that were not changed have the hash already: an earlier version was used for a while.
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))
    for id, text in db.execute("SELECT id, entry FROM models").fetchall():
        entry = as_table(text)
        if isinstance(entry.get("owner"), str) and hidden(entry["owner"]) != entry["owner"]:
            hashed = json.dumps({**entry, "owner": hidden(entry["owner"])}, ensure_ascii=False)
            db.execute("UPDATE models SET entry = ? WHERE id = ?", (hashed, id))


def attach(db: sqlite3.Connection, request: Request, owner: str, address: str, batch: str) -> None:
    """Record that this owner submitted the request, in an open transaction.

    A job that a person requested by itself does not become a part of a sweep, which could withdraw it.
    """
    row = (
        "INSERT INTO owners (job, owner, asked, address, batch, title) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT"
        f" DO UPDATE SET title = excluded.title, batch = CASE WHEN instr(excluded.batch, '{SWEEP}') THEN batch"
        f" WHEN excluded.batch = '' AND instr(batch, '{SWEEP}') THEN ''"  # asked for by itself, not only as a part
        " ELSE COALESCE(NULLIF(excluded.batch, ''), batch) END"
    )
    db.execute(row, (request.id, owner, time.time(), address, batch, request.title))


def detach(db: sqlite3.Connection, id: str, owner: str, heir: str) -> None:
    """Withdraw an owner's request for a job, which then belongs to `heir`."""
    db.execute("DELETE FROM owners WHERE job = ? AND owner = ?", (id, owner))
    query = "SELECT address FROM owners WHERE job = ? AND owner = ?"
    place = shared_turn(heir, db.execute(query, (id, heir)).fetchone()[0])
    db.execute("UPDATE jobs SET owner = ?, place = ? WHERE id = ? AND owner = ?", (heir, place, id, owner))


def others_of(db: sqlite3.Connection, id: str, owner: str) -> list[str]:
    """The other owners of a job, the earliest first."""
    rows = db.execute("SELECT owner FROM owners WHERE job = ? AND owner != ? ORDER BY asked", (id, owner))
    return [row[0] for row in rows]


def own_row(db: sqlite3.Connection, id: str, owner: str) -> sqlite3.Row:
    """The row of a job of this owner. Raises InvalidRequest if it is not theirs."""
    row = db.execute(
        "SELECT * FROM jobs WHERE id = ? AND id IN (SELECT job FROM owners WHERE owner = ?)", (id, owner)
    ).fetchone()
    if row is None:
        raise InvalidRequest(f"You have no job {id[:12]}. Reload the page to see your jobs.")
    return row
