"""A dispatcher's access to the ledger: claim a job, report its progress, store its outcome. Ray is not imported.

A dispatcher holds its jobs by a lease: it sends a heartbeat every second, and the jobs of a silent dispatcher go back
into the queue. Every claim of a job has a number (`run`). If a dispatcher reports on a job that it no longer holds,
the report is ignored.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

from merging.jobs.claims import Claim, Claimant, fail, placeholders, take_company, take_next
from merging.jobs.ledger import models
from merging.jobs.ledger.connection import connect, transaction
from merging.jobs.ledger.files import filing
from merging.jobs.ledger.jobs import Worker
from merging.jobs.ledger.ledger import Ledger, end
from merging.jobs.ledger.shipped_runs import picture_question_of
from merging.jobs.ledger.store import Content, content_size, sha256_of
from merging.jobs.privacy import note_results
from merging.jobs.requests.base import LANES
from merging.jobs.requests.pictures import PicturesRequest
from merging.jobs.requests.registry import kinds
from merging.progress import read_point
from merging.zoo.catalogue import Entry

INTERRUPTED = (
    "The program that runs jobs ended {} times during this job, so the job is not tried again. If you stopped the "
    "program on purpose, run the job again. Otherwise choose a smaller job, and see the program's log."
)
INTERRUPTIONS = 5  # a job fails when this many dispatchers ended during it; high, as the job is rarely the cause
OWN_KINDS = tuple(key for key, kind in kinds().items() if not kind.task)  # dispatchers run them: they harm no process
HELD = "id = ? AND run = ? AND dispatcher = ? AND state = 'running'"


class Desk:
    """One dispatcher's access to the ledger."""

    def __init__(self, ledger: Ledger, born: float = 0.0) -> None:
        """born: start time of this process, which distinguishes it from a later process with the same process id."""
        self.ledger = ledger
        self.id = uuid.uuid4().hex
        self._began = time.time() - time.monotonic()
        with connect(ledger.file) as db:
            db.execute(
                "INSERT INTO dispatchers VALUES (?, ?, ?, ?, ?)",
                (self.id, socket.gethostname(), os.getpid(), born, time.time()),
            )

    def now(self) -> float:
        """Seconds since 1970; later changes of the system time are ignored, so that durations stay correct."""
        return self._began + time.monotonic()

    def claim(self, kinds: Sequence[str], lanes: Sequence[str] = LANES) -> Claim | None:
        """Claim the next job of these kinds and lanes in the fair order.

        None if there is none, or its request is unreadable.
        """
        with connect(self.ledger.file) as db, transaction(db):
            return take_next(db, self._claimant(), kinds, lanes)

    def claim_company(self, first: Claim, most: int, seats: int) -> tuple[Claim, ...]:
        """Claim jobs that a worker does together with a claimed one, as `claims.take_company`; all claims."""
        if not first.request.company:
            return (first,)
        with connect(self.ledger.file) as db, transaction(db):
            return take_company(db, self._claimant(), first, most, seats)

    def waiting(self, kinds: Sequence[str], lanes: Sequence[str] = LANES) -> bool:
        """Whether a job of these kinds and lanes is queued. Unlike `claim`, this blocks no writer."""
        known = f"kind IN ({placeholders(kinds)}) AND lane IN ({placeholders(lanes)})"
        with connect(self.ledger.file) as db:
            query = f"SELECT 1 FROM jobs WHERE state = 'queued' AND {known} LIMIT 1"
            return db.execute(query, (*kinds, *lanes)).fetchone() is not None

    def held(self) -> dict[str, int]:
        """Job id -> claim number (`run`) of each job that this dispatcher holds; cancelled jobs are no longer held."""
        with connect(self.ledger.file) as db:
            rows = db.execute("SELECT id, run FROM jobs WHERE dispatcher = ? AND state = 'running'", (self.id,))
            return {row["id"]: row["run"] for row in rows}

    def tell(self, claim: Claim, stage: str, fraction: float, message: str, worker: str = "") -> None:
        """Record a job's stage, completed share (it never decreases) and message. A new stage ends the previous one."""
        self.tell_all((claim,), stage, fraction, message, worker)

    def tell_all(self, claims: Sequence[Claim], stage: str, fraction: float, message: str, worker: str = "") -> None:
        """Do the work of `tell` for jobs that are done together."""
        now = self.now()
        with connect(self.ledger.file) as db, transaction(db):
            for claim in claims:
                update = db.execute(
                    f"UPDATE jobs SET stage = ?, fraction = MAX(fraction, ?), message = ?, worker = ? WHERE {HELD}",
                    (stage, fraction, message, worker, *self._key(claim)),
                )
                if update.rowcount:
                    _log(db, claim.id, stage, message, now)

    def finish(self, claim: Claim, artifacts: Mapping[str, Content], model: Entry | None = None) -> bool:
        """Store the job's artifacts, and its trained model if there is one; False if the job is no longer held.

        Raises InvalidRequest if the store is full, or the owner has too many models.
        """
        rows = [(claim.id, name, sha256_of(content), content_size(content)) for name, content in artifacts.items()]
        trained = artifacts.get("checkpoint.safetensors")
        with filing(self.ledger.file, self.ledger.store) as files:
            db = files.db
            if not db.execute(f"SELECT 1 FROM jobs WHERE {HELD}", self._key(claim)).fetchone():
                return False
            files.make_room({sha256: size for _, _, sha256, size in rows})
            files.give_up_artifacts(claim.id)  # of an earlier attempt; files that are stored again below stay
            for _, name, sha256, _ in rows:
                files.put(artifacts[name], sha256)
            db.executemany("INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?, ?)", rows)
            networks = [sha256 for _, name, sha256, _ in rows if name.endswith(".safetensors")]
            note_results(db, json.loads(claim.request.to_json()), networks)
            if isinstance(claim.request, PicturesRequest):
                _know_pictures(db, claim, rows)
            if model is not None and isinstance(trained, bytes):
                models.list_trained(self.ledger, files, model, trained, claim.id)
            end(db, claim.id, "done", self.now())
            db.execute("UPDATE jobs SET fraction = 1, message = '' WHERE id = ?", (claim.id,))
            if claim.together > 1:
                _share_time(db, claim)
        return True

    def fail(self, claim: Claim, error: Mapping[str, str]) -> None:
        """End the job with an error: {"kind", "text"} and, for an unexpected error, "details"."""
        with connect(self.ledger.file) as db, transaction(db):
            if db.execute(f"SELECT 1 FROM jobs WHERE {HELD}", self._key(claim)).fetchone():
                fail(db, claim.id, error, self.now())

    def give_back(self, claim: Claim, *, counted: bool) -> None:
        """Put the job back into the queue. counted: whether this attempt counts (it does if a worker died)."""
        with connect(self.ledger.file) as db, transaction(db):
            if db.execute(f"SELECT 1 FROM jobs WHERE {HELD}", self._key(claim)).fetchone():
                _requeue(db, claim.id, 0 if counted else 1)

    def people(self, job: str) -> list[tuple[str, str]]:
        """(owner, network address) of all who requested a job, the earliest first."""
        with connect(self.ledger.file) as db:
            rows = db.execute("SELECT owner, address FROM owners WHERE job = ? ORDER BY asked", (job,)).fetchall()
        return [(row["owner"], row["address"]) for row in rows]

    def beat(self, workers: Sequence[Worker] = ()) -> None:
        """Record a heartbeat of this dispatcher, and the state of its workers."""
        now = time.time()
        rows = [
            (
                w.name,
                self.id,
                w.device,
                w.node,
                w.busy,
                w.memory_used,
                w.memory_total,
                w.gpu_memory_used,
                w.gpu_memory_total,
                now,
            )
            for w in workers
        ]
        with connect(self.ledger.file) as db, transaction(db):
            db.execute("UPDATE dispatchers SET seen = ? WHERE id = ?", (now, self.id))
            if workers:
                db.execute("DELETE FROM workers WHERE dispatcher = ?", (self.id,))
                db.executemany("INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def reap(self, alive: Callable[[int, float], bool]) -> list[str]:
        """Put the jobs of dead dispatchers back into the queue; return the jobs' ids.

        A dispatcher is dead if it was silent for longer than the lease, or if it ran on this machine and
        alive(pid, born) is false. A job during which INTERRUPTIONS dispatchers died fails with WorkerLost.
        """
        now, host, requeued = time.time(), socket.gethostname(), []
        with connect(self.ledger.file) as db, transaction(db):
            for row in db.execute("SELECT * FROM dispatchers WHERE id != ?", (self.id,)).fetchall():
                age, here = now - row["seen"], row["host"] == host
                # A time in the future is from before the clock was set back: on another host it proves no life.
                silent = (age if here else abs(age)) > self.ledger.limits.lease_seconds
                if silent or (here and not alive(row["pid"], row["born"])):
                    requeued += self._bury(db, row["id"])
        return requeued

    def leave(self) -> None:
        """Remove this dispatcher, which is stopping, and its workers; requeue its jobs without counting the attempt."""
        with connect(self.ledger.file) as db, transaction(db):
            for row in _running(db, self.id):
                _requeue(db, row["id"], 1)
            db.execute("DELETE FROM dispatchers WHERE id = ?", (self.id,))

    def _bury(self, db: sqlite3.Connection, dispatcher: str) -> list[str]:
        rows = _running(db, dispatcher)
        for row in rows:
            if row["kind"] in OWN_KINDS:
                _requeue(db, row["id"], 1)
                continue
            times = row["interrupted"] + 1
            db.execute("UPDATE jobs SET interrupted = ? WHERE id = ?", (times, row["id"]))
            if times >= INTERRUPTIONS:
                fail(db, row["id"], {"kind": "WorkerLost", "text": INTERRUPTED.format(times)}, self.now())
            else:
                _requeue(db, row["id"], 1)
        db.execute("DELETE FROM dispatchers WHERE id = ?", (dispatcher,))
        return [row["id"] for row in rows]

    def _key(self, claim: Claim) -> tuple[str, int, str]:
        return claim.id, claim.run, self.id

    def _claimant(self) -> Claimant:
        return Claimant(self.id, self.now(), self.ledger.limits)


def _share_time(db: sqlite3.Connection, claim: Claim) -> None:
    """Record as the job's durations its share of the pass, which forecasts take for the time of one such job."""
    db.execute("UPDATE stages SET seconds = seconds / ? WHERE job = ?", (claim.together, claim.id))
    share = "UPDATE jobs SET started = finished - (finished - started) / ? WHERE id = ?"
    db.execute(share, (claim.together, claim.id))


def _log(db: sqlite3.Connection, job: str, stage: str, message: str, now: float) -> None:
    """Record a message of a stage; measured points of a curve are collected, of other messages the latest is kept."""
    last = db.execute("SELECT number, stage FROM stages WHERE job = ? ORDER BY number DESC LIMIT 1", (job,)).fetchone()
    point = f"{message}\n" if read_point(message) is not None else ""
    if last is not None and last["stage"] == stage:
        update = "UPDATE stages SET message = ?, points = points || ? WHERE job = ? AND number = ?"
        db.execute(update, (message, point, job, last["number"]))
        return
    db.execute("UPDATE stages SET seconds = ? - began WHERE job = ? AND seconds IS NULL", (now, job))
    number = 0 if last is None else last["number"] + 1
    new = "INSERT INTO stages (job, number, stage, message, began, points) VALUES (?, ?, ?, ?, ?, ?)"
    db.execute(new, (job, number, stage, message, now, point))


def _running(db: sqlite3.Connection, dispatcher: str) -> list[sqlite3.Row]:
    return db.execute(
        "SELECT id, kind, interrupted FROM jobs WHERE dispatcher = ? AND state = 'running'", (dispatcher,)
    ).fetchall()


def _requeue(db: sqlite3.Connection, job: str, uncounted: int) -> None:
    back = (
        "UPDATE jobs SET state = 'queued', dispatcher = '', worker = '', stage = '', fraction = 0, message = '',"
        " started = NULL, attempts = attempts - ? WHERE id = ?"
    )
    db.execute(back, (uncounted, job))
    db.execute("DELETE FROM stages WHERE job = ?", (job,))


def _know_pictures(db: sqlite3.Connection, claim: Claim, rows: Sequence[tuple[str, str, str, int]]) -> None:
    question = picture_question_of(json.loads(claim.request.to_json()))
    new_rows = [(claim.id, question, int(name.removeprefix("unit-")), sha256) for _, name, sha256, _ in rows]
    db.executemany("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?)", new_rows)
