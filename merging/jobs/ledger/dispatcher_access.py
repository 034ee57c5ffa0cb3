"""A dispatcher's side of the ledger: take a job, tell how far it is, hand in what came of it. No Ray.

A dispatcher holds what it took by a lease: it beats every second, and what a silent one held goes back into the queue.
Each taking has a number (`run`); what is told of a job that one no longer holds changes nothing.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from merging.errors import MergescopeError
from merging.jobs.ledger import models
from merging.jobs.ledger.connection import connect, transaction
from merging.jobs.ledger.files import filing
from merging.jobs.ledger.jobs import FAIR, Worker
from merging.jobs.ledger.ledger import Ledger, end
from merging.jobs.ledger.shipped_runs import picture_question_of
from merging.jobs.ledger.store import Content, sha256_of, size_of
from merging.jobs.requests.base import Request
from merging.jobs.requests.pictures import PicturesRequest
from merging.jobs.requests.registry import from_json
from merging.zoo.catalogue import Entry

INTERRUPTED = (
    "The program that runs jobs ended {} times while this job ran, so it is not tried again. If it was stopped on "
    "purpose, run the job again; else ask for a smaller one, and look at the program's log."
)
INTERRUPTIONS = 5  # of a job by the end of its dispatcher, which is not the job's doing, or hardly
HELD = "id = ? AND run = ? AND dispatcher = ? AND state = 'running'"


@dataclass(frozen=True)
class Claim:
    """A job that was taken. run: the number of this taking; deadline: seconds since 1970."""

    id: str
    run: int
    request: Request
    owner: str
    attempts: int
    deadline: float


class Desk:
    """What one dispatcher does to the ledger."""

    def __init__(self, ledger: Ledger, born: float = 0.0) -> None:
        """born: when the process was started, so that its number can be told from a later process's."""
        self.ledger = ledger
        self.id = uuid.uuid4().hex
        self._began = time.time() - time.monotonic()
        with connect(ledger.file) as db:
            db.execute(
                "INSERT INTO dispatchers VALUES (?, ?, ?, ?, ?)",
                (self.id, socket.gethostname(), os.getpid(), born, time.time()),
            )

    def now(self) -> float:
        """Seconds since 1970, by a clock that cannot be set while this dispatcher lives: durations are right."""
        return self._began + time.monotonic()

    def claim(self, kinds: Sequence[str]) -> Claim | None:
        """Take the next job of these kinds in the fair order; None where there is none."""
        now = self.now()
        take = (  # one statement: no job is taken twice, whoever else looks
            "UPDATE jobs SET state = 'running', started = ?, dispatcher = ?, run = run + 1, attempts = attempts + 1,"
            " stage = '', fraction = 0, message = '', worker = ''"
            " WHERE id = (SELECT id FROM jobs WHERE state = 'queued'"
            f" AND kind IN ({', '.join('?' * len(kinds))}) ORDER BY {FAIR} LIMIT 1)"
            " RETURNING id, run, kind, request, owner, place, attempts"
        )
        with connect(self.ledger.file) as db, transaction(db):
            row = db.execute(take, (now, self.id, *kinds)).fetchone()
            if row is None:
                return None
            try:
                request = from_json(row["request"])
            except MergescopeError as error:  # queued by another version of the program
                self._fail(db, row["id"], {"kind": type(error).__name__, "text": str(error)})
                return None
            deadline = now + self.ledger.limits.deadline(row["kind"])
            db.execute("UPDATE jobs SET deadline = ? WHERE id = ?", (deadline, row["id"]))
            db.execute("DELETE FROM stages WHERE job = ?", (row["id"],))
            turn = db.execute("SELECT COALESCE(MAX(at), 0) + 1 FROM served").fetchone()[0]
            who = {row["owner"], row["place"] or row["owner"]}
            db.executemany("INSERT OR REPLACE INTO served VALUES (?, ?)", [(name, turn) for name in who])
        return Claim(row["id"], row["run"], request, row["owner"], row["attempts"], deadline)

    def waiting(self, kinds: Sequence[str]) -> bool:
        """Whether a job of these kinds is queued; a look that blocks no writer."""
        chosen = f"SELECT 1 FROM jobs WHERE state = 'queued' AND kind IN ({', '.join('?' * len(kinds))}) LIMIT 1"
        with connect(self.ledger.file) as db:
            return db.execute(chosen, tuple(kinds)).fetchone() is not None

    def held(self) -> dict[str, int]:
        """Job id -> run of what this dispatcher still holds; what was cancelled or deleted is not among them."""
        with connect(self.ledger.file) as db:
            rows = db.execute("SELECT id, run FROM jobs WHERE dispatcher = ? AND state = 'running'", (self.id,))
            return {row["id"]: row["run"] for row in rows}

    def tell(self, claim: Claim, stage: str, fraction: float, message: str, worker: str = "") -> None:
        """Where the job is: stage, share of the whole (never falling back), words. A new stage closes the last."""
        now = self.now()
        with connect(self.ledger.file) as db, transaction(db):
            told = db.execute(
                f"UPDATE jobs SET stage = ?, fraction = MAX(fraction, ?), message = ?, worker = ? WHERE {HELD}",
                (stage, fraction, message, worker, *self._key(claim)),
            )
            if told.rowcount:
                _log(db, claim.id, stage, message, now)

    def finish(self, claim: Claim, artifacts: Mapping[str, Content], model: Entry | None = None) -> bool:
        """Hand in what the job made, and the trained model where there is one; False where the job is no longer held.

        Raises InvalidRequest where the store is full or the owner's models are.
        """
        rows = [(claim.id, name, sha256_of(content), size_of(content)) for name, content in artifacts.items()]
        trained = artifacts.get("checkpoint.safetensors")
        with filing(self.ledger.file, self.ledger.store) as files:
            db = files.db
            if not db.execute(f"SELECT 1 FROM jobs WHERE {HELD}", self._key(claim)).fetchone():
                return False
            files.make_room({sha256: size for _, _, sha256, size in rows})
            files.give_up_artifacts(claim.id)  # of an earlier attempt, as far as this one made something else
            for _, name, sha256, _ in rows:
                files.put(artifacts[name], sha256)
            db.executemany("INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?, ?)", rows)
            if isinstance(claim.request, PicturesRequest):
                _know_pictures(db, claim, rows)
            if model is not None and isinstance(trained, bytes):
                models.insert(self.ledger, files, model, trained, claim.owner)
            end(db, claim.id, "done", self.now())
            db.execute("UPDATE jobs SET fraction = 1, message = '' WHERE id = ?", (claim.id,))
        return True

    def fail(self, claim: Claim, error: Mapping[str, str]) -> None:
        """The job ends with a reason: {"kind", "text"} and, where the program is to blame, "details"."""
        with connect(self.ledger.file) as db, transaction(db):
            if db.execute(f"SELECT 1 FROM jobs WHERE {HELD}", self._key(claim)).fetchone():
                self._fail(db, claim.id, error)

    def give_back(self, claim: Claim, *, counted: bool) -> None:
        """Back into the queue. counted: the attempt counts (a worker died) or not (the program was stopped)."""
        with connect(self.ledger.file) as db, transaction(db):
            if db.execute(f"SELECT 1 FROM jobs WHERE {HELD}", self._key(claim)).fetchone():
                _requeue(db, claim.id, 0 if counted else 1)

    def beat(self, workers: Sequence[Worker] = ()) -> None:
        """Say that this dispatcher lives, and how its workers are."""
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
        """Put back what dead dispatchers held; gives the jobs' ids.

        Dead is who was silent for the lease, or on this machine is not alive(pid, born). A job that many of them died
        on fails with WorkerLost: perhaps it is what kills them.
        """
        now, host, moved = time.time(), socket.gethostname(), []
        with connect(self.ledger.file) as db, transaction(db):
            for row in db.execute("SELECT * FROM dispatchers WHERE id != ?", (self.id,)).fetchall():
                silent = now - row["seen"] > self.ledger.limits.lease_seconds
                if silent or (row["host"] == host and not alive(row["pid"], row["born"])):
                    moved += self._bury(db, row["id"])
        return moved

    def leave(self) -> None:
        """The dispatcher stops: what it still holds goes back into the queue, uncounted, and its workers are gone."""
        with connect(self.ledger.file) as db, transaction(db):
            for row in _running(db, self.id):
                _requeue(db, row["id"], 1)
            db.execute("DELETE FROM dispatchers WHERE id = ?", (self.id,))

    def _bury(self, db: sqlite3.Connection, dispatcher: str) -> list[str]:
        rows = _running(db, dispatcher)
        for row in rows:
            times = row["interrupted"] + 1
            db.execute("UPDATE jobs SET interrupted = ? WHERE id = ?", (times, row["id"]))
            if times >= INTERRUPTIONS:
                self._fail(db, row["id"], {"kind": "WorkerLost", "text": INTERRUPTED.format(times)})
            else:
                _requeue(db, row["id"], 1)
        db.execute("DELETE FROM dispatchers WHERE id = ?", (dispatcher,))
        return [row["id"] for row in rows]

    def _key(self, claim: Claim) -> tuple[str, int, str]:
        return claim.id, claim.run, self.id

    def _fail(self, db: sqlite3.Connection, job: str, error: Mapping[str, str]) -> None:
        db.execute("UPDATE jobs SET error = ? WHERE id = ?", (json.dumps(dict(error)), job))
        end(db, job, "failed", self.now())


def _log(db: sqlite3.Connection, job: str, stage: str, message: str, now: float) -> None:
    last = db.execute("SELECT number, stage FROM stages WHERE job = ? ORDER BY number DESC LIMIT 1", (job,)).fetchone()
    if last is not None and last["stage"] == stage:
        db.execute("UPDATE stages SET message = ? WHERE job = ? AND number = ?", (message, job, last["number"]))
        return
    db.execute("UPDATE stages SET seconds = ? - began WHERE job = ? AND seconds IS NULL", (now, job))
    number = 0 if last is None else last["number"] + 1
    db.execute("INSERT INTO stages VALUES (?, ?, ?, ?, ?, NULL)", (job, number, stage, message, now))


def _running(db: sqlite3.Connection, dispatcher: str) -> list[sqlite3.Row]:
    return db.execute(
        "SELECT id, interrupted FROM jobs WHERE dispatcher = ? AND state = 'running'", (dispatcher,)
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
    known = [(claim.id, question, int(name.removeprefix("unit-")), sha256) for _, name, sha256, _ in rows]
    db.executemany("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?)", known)
