"""Claims: how a dispatcher takes queued jobs, one by one or a company that a worker does together. torch-free."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from merging.errors import MergescopeError
from merging.jobs.ledger.ledger import end
from merging.jobs.limits import Limits
from merging.jobs.requests.base import Request
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.sweep import SWEEP
from merging.jobs.turns import FAIR, take_turn


@dataclass(frozen=True)
class Claim:
    """A job that a dispatcher claimed.

    Attributes:
        run: number of this claim of the job.
        lane: its lane in the queue, which for a part of a sweep is not always that of its request.
        deadline: seconds since 1970.
        together: number of jobs that are done in one pass, this one among them.
    """

    id: str
    run: int
    request: Request
    owner: str
    lane: str
    attempts: int
    deadline: float
    together: int = 1


@dataclass(frozen=True)
class Claimant:
    """Who takes jobs. id: the dispatcher.  now: seconds since 1970.  limits: the ledger's."""

    id: str
    now: float
    limits: Limits


def take_next(db: sqlite3.Connection, claimant: Claimant, kinds: Sequence[str], lanes: Sequence[str]) -> Claim | None:
    """Claim the next job of these kinds and lanes in the fair order. None if there is none, or it is unreadable."""
    known = f"state = 'queued' AND kind IN ({placeholders(kinds)}) AND lane IN ({placeholders(lanes)})"
    return _take(db, claimant, f"(SELECT id FROM jobs WHERE {known} ORDER BY {FAIR} LIMIT 1)", (*kinds, *lanes))


def take_company(db: sqlite3.Connection, claimant: Claimant, first: Claim, most: int, seats: int) -> tuple[Claim, ...]:
    """Claim queued jobs of this person's sweeps that are done together with `first`; return all claims.

    A person's jobs outside sweeps are done by themselves, so that the first result comes early. So is a job whose
    worker or dispatcher died: it may have been too large with the others.

    Args:
        db: a connection in a transaction.
        claimant: the dispatcher.
        first: a claimed job that has a `Request.company`.
        most: largest number of jobs that are done together.
        seats: number of workers, over which the jobs are distributed.
    """
    alike = (
        "SELECT id, request, attempts FROM jobs WHERE (state = 'queued' OR id = ?) AND kind = ? AND lane = ?"
        " AND owner = ? AND interrupted = 0 AND EXISTS"
        " (SELECT 1 FROM owners WHERE job = jobs.id AND instr(batch, ?)) ORDER BY created"
    )
    known = (first.id, first.request.kind, first.lane, first.owner, SWEEP)
    rows = db.execute(alike, known).fetchall()
    new = [row for row in rows if row["attempts"] == (1 if row["id"] == first.id else 0)]  # never started before
    company = [row["id"] for row in new if _company(row["id"], row["request"]) == first.request.company]
    if first.id not in company:
        return (first,)
    number = min(most, -(-len(company) // seats))
    others = [id for id in company if id != first.id][: number - 1]
    claims = [first, *(claim for id in others if (claim := _take(db, claimant, "?", (id,))) is not None)]
    deadline = claimant.now + len(claims) * claimant.limits.deadline(first.request.kind)
    db.executemany("UPDATE jobs SET deadline = ? WHERE id = ?", [(deadline, claim.id) for claim in claims])
    return tuple(replace(claim, deadline=deadline, together=len(claims)) for claim in claims)


def fail(db: sqlite3.Connection, job: str, error: Mapping[str, str], now: float) -> None:
    """End a job with an error: {"kind", "text"} and, for an unexpected error, "details"."""
    db.execute("UPDATE jobs SET error = ? WHERE id = ?", (json.dumps(dict(error)), job))
    end(db, job, "failed", now)


def placeholders(values: Sequence[str]) -> str:
    """Placeholders of an SQL list with these values."""
    return ", ".join("?" * len(values))


def _take(db: sqlite3.Connection, claimant: Claimant, which: str, known: Sequence[str]) -> Claim | None:
    """Claim the job whose id the SQL expression `which` gives, in one statement, so that no other dispatcher can."""
    take = (
        "UPDATE jobs SET state = 'running', started = ?, dispatcher = ?, run = run + 1, attempts = attempts + 1,"
        f" stage = '', fraction = 0, message = '', worker = '' WHERE id = {which}"
        " RETURNING id, run, kind, request, owner, place, lane, attempts"
    )
    row = db.execute(take, (claimant.now, claimant.id, *known)).fetchone()
    if row is None:
        return None
    try:
        request = _read_request(row["id"], row["request"])
    except MergescopeError as error:
        fail(db, row["id"], {"kind": type(error).__name__, "text": str(error)}, claimant.now)
        return None
    deadline = claimant.now + claimant.limits.deadline(row["kind"])
    db.execute("UPDATE jobs SET deadline = ? WHERE id = ?", (deadline, row["id"]))
    db.execute("DELETE FROM stages WHERE job = ?", (row["id"],))
    take_turn(db, row["lane"], (row["owner"], row["place"] or row["owner"]))
    return Claim(row["id"], row["run"], request, row["owner"], row["lane"], row["attempts"], deadline)


def _read_request(id: str, text: str) -> Request:
    """The stored request of a job. Raises MergescopeError if it is unreadable, or is not the one that the id names."""
    request = from_json(text)
    if request.id != id:
        raise MergescopeError(
            "The stored request of this job is damaged, or another version of the program stored it. Submit it again."
        )
    return request


def _company(id: str, text: str) -> str:
    """The company of a stored request, "" for an unreadable one."""
    try:
        return _read_request(id, text).company
    except MergescopeError:
        return ""
