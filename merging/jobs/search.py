"""Search of a ledger's jobs, and what a person notes about each of them: name, note, star, archived. torch-free.

Only the person who wrote notes sees them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from merging.errors import InvalidRequest, MergescopeError
from merging.jobs.ledger.connection import connect, snapshot, transaction
from merging.jobs.ledger.jobs import OPEN, Job, read_jobs
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.owners import check_owner
from merging.jobs.privacy import VISIBLE
from merging.jobs.requests.comparison import headline_figures
from merging.jobs.requests.sweep import SWEEP
from merging.methods.registry import ROLES
from merging.results.reports import MergeReport

Order = Literal["newest", "oldest", "accuracy", "barrier", "name"]
LONGEST_NAME = 80
LONGEST_NOTE = 2_000
WORDS = 12  # largest number of words of a search that are used
_REQUEST = "CASE WHEN json_valid(jobs.request) THEN json_extract(jobs.request, '$.{0}') END"
_OWN_BATCH = "(SELECT batch FROM owners WHERE owners.job = jobs.id AND owner = :visitor)"
# A private job that someone else requested may have titles with names that only they know.
_TITLE = (
    "COALESCE((SELECT NULLIF(title, '') FROM owners WHERE owners.job = jobs.id AND owners.owner = :visitor),"
    " CASE WHEN jobs.private THEN '' ELSE jobs.title END)"
)
KEY = "live"  # parameter of a batch: the random key with which it can be stopped
ORDERS: dict[Order, str] = {  # jobs without the number come last
    "newest": "jobs.created DESC",
    "oldest": "jobs.created",
    "accuracy": "jobs.accuracy IS NULL, jobs.accuracy DESC, jobs.created DESC",
    "barrier": "jobs.barrier IS NULL, jobs.barrier, jobs.created DESC",
    "name": f"COALESCE(NULLIF(marks.name, ''), {_TITLE}) COLLATE NOCASE, jobs.created DESC",
}


@dataclass(frozen=True)
class Mark:
    """What one person notes about a job."""

    name: str = ""
    note: str = ""
    starred: bool = False
    archived: bool = False

    def __post_init__(self) -> None:
        for text, most, what in ((self.name, LONGEST_NAME, "name"), (self.note, LONGEST_NOTE, "note")):
            if len(text) > most:
                raise InvalidRequest(f"The {what} has {len(text):,} characters; the limit is {most:,}. Shorten it.")


@dataclass(frozen=True)
class Search:
    """Conditions on jobs, all of which must hold.

    Attributes:
        text: words that occur in the job's title or id, or in the person's own name or note of it.
        owner: only jobs that this person requested; "" for those of all.
        kinds: the kinds of jobs.
        dataset: name of the data set, "" for any.
        method: (role, key of a method), or None for any.
        since: earliest time of the request in seconds since 1970.
        starred: only jobs that the person starred.
        archived: only jobs that the person archived; otherwise only those that are not.
        parts: whether jobs that people requested only as parts of sweeps are found, too.
        order: the order of the jobs.
    """

    text: str = ""
    owner: str = ""
    kinds: tuple[str, ...] = ("merge",)
    dataset: str = ""
    method: tuple[str, str] | None = None
    since: float = 0.0
    starred: bool = False
    archived: bool = False
    parts: bool = False
    order: Order = "newest"

    def __post_init__(self) -> None:
        if self.order not in ORDERS or (self.method is not None and self.method[0] not in ROLES):
            raise InvalidRequest(f"Jobs cannot be sorted by {self.order!r}, or have no method {self.method!r}.")


@dataclass(frozen=True)
class Found:
    """A job of a search.

    Attributes:
        job: the job.
        mark: what the person noted about it.
        accuracy: test accuracy of the result, 0..1; None if it was not measured.
        barrier: loss barrier above the mean of the endpoints, in nats; None if it was not measured.
        batch: the parameters of the Compare page's address with which the visitor requested the job, "" for none.
    """

    job: Job
    mark: Mark
    accuracy: float | None
    barrier: float | None
    batch: str


def search(ledger: Ledger, conditions: Search, visitor: str, limit: int) -> tuple[Found, ...]:
    """Return at most `limit` jobs that the visitor may see, in the order of the search, open jobs first."""
    where, values = _where(conditions)
    query = (
        f"SELECT jobs.*, marks.name AS mark_name, marks.note, marks.starred, marks.archived, {_OWN_BATCH} AS batch"
        " FROM jobs LEFT JOIN marks ON marks.job = jobs.id AND marks.owner = :visitor"
        f" WHERE {' AND '.join(where)} ORDER BY jobs.state NOT IN ('queued', 'running'), {ORDERS[conditions.order]},"
        " jobs.id LIMIT :limit"
    )
    _measure(ledger)
    with connect(ledger.file) as db, snapshot(db):
        rows = db.execute(query, {**values, "visitor": visitor, "limit": limit}).fetchall()
        jobs = {job.id: job for job in read_jobs(db, rows, ledger.shipped.past)}
    return tuple(_found(row, jobs[row["id"]]) for row in rows if row["id"] in jobs)


def mark_of(ledger: Ledger, job_id: str, person: str) -> Mark:
    """Return what this person noted about the job."""
    with connect(ledger.file) as db:
        row = db.execute("SELECT * FROM marks WHERE job = ? AND owner = ?", (job_id, person)).fetchone()
    return Mark() if row is None else _mark(row, row["name"])


def set_mark(ledger: Ledger, job_id: str, person: str, mark: Mark) -> None:
    """Store what this person notes about a job. Raises InvalidRequest if the job was deleted."""
    check_owner(person)
    with connect(ledger.file) as db, transaction(db):
        if db.execute("SELECT 1 FROM jobs WHERE id = ?", (job_id,)).fetchone() is None:
            raise InvalidRequest("This run was deleted, so nothing can be noted about it. Reload the page.")
        db.execute(
            "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?, ?)",
            (job_id, person, mark.name, mark.note, mark.starred, mark.archived),
        )


def progress_of(ledger: Ledger, ids: Sequence[str], visitor: str) -> dict[str, tuple[str, float]]:
    """Id -> (state, time of its end or 0) of those of the jobs that the visitor may see, in one look.

    A shipped example stands for a job that is neither open nor done here, as in `Ledger.job`.
    """
    query = (
        "SELECT id, state, COALESCE(finished, 0) AS finished FROM jobs"
        f" WHERE id IN (SELECT value FROM json_each(:ids)) AND {VISIBLE}"
    )
    with connect(ledger.file) as db:
        rows = db.execute(query, {"ids": json.dumps(list(ids)), "visitor": visitor}).fetchall()
    found = {row["id"]: (row["state"], row["finished"]) for row in rows}
    for id in ids:
        example = ledger.shipped.job(id) if found.get(id, ("",))[0] not in (*OPEN, "done") else None
        found |= {id: (example.state, example.finished or 0.0)} if example is not None else {}
    return found


def was_stopped(ledger: Ledger, batch: str) -> bool:
    """Whether somebody stopped the batch with `cancel_batch`."""
    with connect(ledger.file) as db:
        return db.execute("SELECT 1 FROM stopped WHERE batch = ?", (batch,)).fetchone() is not None


def cancelled_of(ledger: Ledger, batch: str) -> set[str]:
    """Ids of the jobs that were submitted with this batch and cancelled since."""
    query = "SELECT job FROM owners JOIN jobs ON jobs.id = job WHERE batch = ? AND state = 'cancelled'"
    with connect(ledger.file) as db:
        return {row["job"] for row in db.execute(query, (batch,))} if batch else set()


def cancel_batch(ledger: Ledger, batch: str) -> None:
    """Withdraw all requests of open jobs that were submitted with this batch, by any person.

    A batch holds a random key, so only those who have its address can cancel it.
    """
    with connect(ledger.file) as db, transaction(db):
        db.execute("INSERT OR IGNORE INTO stopped VALUES (?)", (batch,))
    if batch:
        withdraw_batch(ledger, batch)


def withdraw_batch(ledger: Ledger, batch: str, kept: Collection[str] = (), parts: Collection[str] = ()) -> None:
    """Withdraw all requests of open jobs that were submitted with this batch.

    Args:
        ledger: the ledger.
        batch: text that names the batch.
        kept: ids of jobs that stay.
        parts: ids of jobs whose requests by sweeps are all withdrawn, too: a part of several sweeps is recorded with
            the batch of one of them.
    """
    query = "SELECT job, owners.owner, batch FROM owners JOIN jobs ON id = job WHERE batch != '' AND state IN (?, ?)"
    with connect(ledger.file) as db:
        rows = db.execute(query, OPEN).fetchall()
    for row in rows:
        shared = row["batch"].startswith(SWEEP) and row["job"] in parts
        mine = row["batch"] == batch or shared
        if mine and row["job"] not in kept:
            with suppress(InvalidRequest):  # the person withdrew the request a moment ago
                ledger.cancel(row["job"], row["owner"])


def _where(conditions: Search) -> tuple[list[str], dict[str, Any]]:
    """SQL conditions and their values by name."""
    kinds = {f"kind{number}": kind for number, kind in enumerate(conditions.kinds)}
    where = [VISIBLE, f"jobs.kind IN ({', '.join(f':{name}' for name in kinds)})", "jobs.created >= :since"]
    values: dict[str, Any] = {**kinds, "since": conditions.since}
    text = conditions.text.encode("utf-8", "replace").decode()  # without lone surrogates, which SQLite refuses
    for number, word in enumerate(text.split()[:WORDS]):
        place = f"{_TITLE} || ' ' || jobs.id || ' ' || COALESCE(marks.name || ' ' || marks.note, '')"
        where.append(f"{place} LIKE :word{number} ESCAPE '!'")
        pattern = "".join(f"!{letter}" if letter in "!%_" else letter for letter in word)
        values[f"word{number}"] = f"%{pattern}%"
    if conditions.owner:
        where.append("jobs.id IN (SELECT job FROM owners WHERE owner = :owner)")
        values["owner"] = conditions.owner
    if conditions.dataset:
        where.append(f":dataset IN ({_REQUEST.format('dataset')}, {_REQUEST.format('merge.dataset')})")
        values["dataset"] = conditions.dataset
    if conditions.method is not None:
        role, key = conditions.method
        where.append(f":method IN ({_REQUEST.format(role)}, {_REQUEST.format(f'merge.{role}')})")
        values["method"] = key
    if not conditions.parts:
        where.append(
            "(NOT EXISTS (SELECT 1 FROM owners WHERE job = jobs.id)"
            " OR EXISTS (SELECT 1 FROM owners WHERE job = jobs.id AND NOT instr(batch, :sweep)))"
        )
        values["sweep"] = SWEEP
    where += ["marks.starred"] if conditions.starred else []
    where.append("marks.archived" if conditions.archived else "NOT COALESCE(marks.archived, 0)")
    return where, values


def _found(row: sqlite3.Row, job: Job) -> Found:
    return Found(job, _mark(row, row["mark_name"]), row["accuracy"], row["barrier"], _text(row["batch"]))


def without_key(batch: str) -> str:
    """The batch without its random key, equal for all comparisons of the same networks and methods."""
    return urlencode([(name, text) for name, text in parse_qsl(batch) if name != KEY])


def is_mine(ledger: Ledger, batch: str, person: str) -> bool:
    """Whether this person submitted a part of the batch."""
    with connect(ledger.file) as db:
        row = db.execute("SELECT 1 FROM owners WHERE batch = ? AND owner = ? LIMIT 1", (batch, person)).fetchone()
    return bool(batch) and row is not None


def _mark(row: sqlite3.Row, name: object) -> Mark:
    """The mark in a row; texts that damage made longer than the limit are cut."""
    texts = _text(name)[:LONGEST_NAME], _text(row["note"])[:LONGEST_NOTE]
    return Mark(*texts, bool(row["starred"]), bool(row["archived"]))


def _text(value: object) -> str:
    """A text of the table; "" for none, and for what damage put in its place."""
    return value if isinstance(value, str) else ""


def _measure(ledger: Ledger) -> None:
    """Read accuracy and barrier from the reports of finished merges whose numbers are not in the table yet, once."""
    query = "SELECT id FROM jobs WHERE state = 'done' AND kind = 'merge' AND NOT measured"
    with connect(ledger.file) as db:
        missing: Sequence[str] = [row["id"] for row in db.execute(query)]
    for job_id in missing:
        try:
            report = ledger.report(job_id)
        except MergescopeError:  # damaged, or of another version: there are no numbers to show
            report = None
        known = headline_figures(report) if isinstance(report, MergeReport) else (None, None)
        with connect(ledger.file) as db, transaction(db):
            db.execute("UPDATE jobs SET measured = 1, accuracy = ?, barrier = ? WHERE id = ?", (*known, job_id))
