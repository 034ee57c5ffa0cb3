"""Ledger: the database of all jobs (requests, owners, progress, results) and of the models that users added.

It consists of one SQLite file and a store of files; any number of processes on one machine can use it at the same time.
Pages and the command line use the class `Ledger`, dispatchers write through `dispatcher_access.Desk`. Neither
torch nor Ray is imported.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merging.errors import Cancelled, MergescopeError
from merging.jobs.forecast import forecast
from merging.jobs.ledger import images, models
from merging.jobs.ledger.connection import connect, snapshot, transaction
from merging.jobs.ledger.files import Filing, filing
from merging.jobs.ledger.folder import LedgerFolder
from merging.jobs.ledger.jobs import OPEN, Job, Worker, read_jobs, read_past
from merging.jobs.ledger.owners import attach, check_caps, check_owner, detach, others_of, own_row, shared_turn
from merging.jobs.ledger.shipped_runs import picture_question
from merging.jobs.privacy import ANYONE, Access
from merging.jobs.requests.base import Request
from merging.jobs.requests.download import DownloadRequest
from merging.jobs.requests.pictures import PicturesRequest
from merging.jobs.requests.sweep import SWEEP
from merging.jobs.requests.train import TrainRequest
from merging.jobs.trained import trained_entry
from merging.jobs.turns import stand_in_line
from merging.progress import CurvePoint, read_point
from merging.results import saving
from merging.zoo.datasets.load import available

if TYPE_CHECKING:
    from merging.zoo.catalogue import Entry

SHORTEST_PREFIX = 6
SILENT = 30.0  # seconds after which a worker is no longer shown


class Ledger(LedgerFolder):
    """Jobs, artifacts and models in one folder."""

    def submit(
        self, request: Request, owner: str, *, again: bool = False, address: str = "", batch: str = "", lane: str = ""
    ) -> Job:
        """Submit a request; return its job: a finished one as it is, an open one with this owner added, or a new one.

        Args:
            request: the request.
            owner: who submits the request.
            again: whether to run a job whose result exists; this creates the artifacts that a shipped example lacks.
            address: network address of the owner, "" for this machine.
            batch: what the request is part of, such as a comparison; "" for a single request.
            lane: the lane in the queue of a part of a sweep; "" for the lane of the request.
        Raises:
            InvalidRequest: a model is unknown or private to another owner, or own images are not available.
            Cancelled: somebody stopped the batch.
            TooManyJobs: the owner, the address or all owners together have too many open jobs.
        """
        check_owner(owner)
        models.check_models_usable(self, request, owner)
        images.check_images_known(request, owner)
        known = None if again else self.shipped.job(request.id)
        with filing(self.file, self.store) as files:
            db = files.db
            if batch and db.execute("SELECT 1 FROM stopped WHERE batch = ?", (batch,)).fetchone():
                raise Cancelled("Somebody stopped this comparison.")
            row = db.execute("SELECT * FROM jobs WHERE id = ?", (request.id,)).fetchone()
            state = "" if row is None else row["state"]
            if known is not None and state not in (*OPEN, "done"):
                return known
            again = again and (row is None or not others_of(db, request.id, owner))  # it is not only this person's
            done = state == "done" and not again and self._whole(db, request)
            if not done:
                part = batch.startswith(SWEEP)
                check_caps(db, self.limits, request.id, lane or request.lane, owner, address, part=part)
            if isinstance(request, TrainRequest) and not batch.startswith(SWEEP):
                if done:
                    self._list_trained(files, request, owner, address)
                else:
                    models.check_room_for_training(self, db, request.id, owner, address)
            if not done and state not in OPEN:
                _enqueue(self, db, request, owner, shared_turn(owner, address), lane or request.lane)
            elif state == "queued" and not batch:  # a part of a sweep that somebody now waits for
                db.execute("UPDATE jobs SET lane = ? WHERE id = ?", (request.lane, request.id))
                stand_in_line(db, request.lane, (owner, shared_turn(owner, address)))
            attach(db, request, owner, address, batch)
        return self._known(request.id)

    def job(self, id_or_prefix: str) -> Job | None:
        """The job with this id, or the only job whose id begins with these 6 or more digits; otherwise None."""
        prefix, matches = _prefix(id_or_prefix), self._found(id_or_prefix)
        own = matches[0] if len(matches) == 1 else None
        if own is not None and own.state in (*OPEN, "done"):
            return own
        example = self.shipped.job(prefix) if prefix and len(matches) < 2 else None
        return example or own  # a later run that failed does not hide the example

    def local_run(self, job_id: str) -> Job | None:
        """The job as run on this machine, even if it failed; unlike `job`, this never returns the shipped example."""
        return matches[0] if len(matches := self._found(job_id)) == 1 else None

    def jobs(
        self,
        *,
        owner: str | None = None,
        states: Sequence[str] | None = None,
        kind: str | Sequence[str] | None = None,
        limit: int = 100,
    ) -> tuple[Job, ...]:
        """Jobs with this owner, these states and these kinds (None: all), newest first; without shipped examples."""
        where, values = ["1"], list[Any]()
        if owner is not None:
            where, values = [*where, "id IN (SELECT job FROM owners WHERE owner = ?)"], [*values, owner]
        kinds = (kind,) if isinstance(kind, str) else kind
        for column, allowed in (("state", states), ("kind", kinds)):
            if allowed is not None:
                where, values = [*where, f"{column} IN ({', '.join('?' * len(allowed))})"], [*values, *allowed]
        query = f"SELECT * FROM jobs WHERE {' AND '.join(where)} ORDER BY created DESC, id LIMIT ?"
        with connect(self.file) as db, snapshot(db):
            return read_jobs(db, db.execute(query, (*values, limit)).fetchall(), self.shipped.past)

    def examples(self) -> tuple[Job, ...]:
        """The finished runs that are shipped with the program."""
        return self.shipped.jobs()

    def expected(self, request: Request) -> dict[str, float]:
        """Stage -> expected seconds, from similar jobs on this machine, else from similar examples; {} without any."""
        values = json.loads(request.to_json())
        with connect(self.file) as db:
            past = read_past(db, [request.kind])
        return forecast(values, past) or forecast(values, self.shipped.past)

    def cancel(self, id: str, owner: str) -> None:
        """Withdraw an owner's request for an open job; the job stops if it has no other owner. A finished job stays.

        Raises InvalidRequest if the job is not the owner's.
        """
        with connect(self.file) as db, transaction(db):
            row = own_row(db, id, owner)
            if row["state"] not in OPEN:
                return
            others = others_of(db, id, owner)
            if others:
                detach(db, id, owner, others[0])
                return
            end(db, id, "cancelled", time.time())

    def delete(self, id: str, owner: str) -> None:
        """Delete the job for this owner; if it has no other owner, it stops and its artifacts are deleted.

        Raises InvalidRequest if the job is not the owner's.
        """
        with filing(self.file, self.store) as files:
            own_row(files.db, id, owner)
            others = others_of(files.db, id, owner)
            if others:
                detach(files.db, id, owner, others[0])
            else:
                files.remove(id)

    def artifact(self, job_id: str, name: str) -> bytes | None:
        """Bytes of an artifact, None if the job has none of this name. Raises MergescopeError if it is damaged."""
        with connect(self.file) as db:
            row = db.execute("SELECT sha256 FROM artifacts WHERE job = ? AND name = ?", (job_id, name)).fetchone()
        return self.store.get(row[0]) if row else self.shipped.artifact(job_id, name)

    def artifacts(self, job_id: str) -> dict[str, tuple[str, int]]:
        """Name -> (sha256, number of bytes) of all artifacts of the job."""
        with connect(self.file) as db:
            rows = db.execute(
                "SELECT name, sha256, size FROM artifacts WHERE job = ? ORDER BY name", (job_id,)
            ).fetchall()
        return {row["name"]: (row["sha256"], row["size"]) for row in rows} or self.shipped.artifacts(job_id)

    def report(self, job_id: str) -> Any | None:
        """Report of the job (such as a MergeReport), None if it has none yet."""
        data = self.artifact(job_id, "report")
        return None if data is None else saving.load(data)

    def points(self, job_id: str) -> tuple[CurvePoint, ...]:
        """The points of its curves that a job has measured so far, in the order in which it measured them."""
        with connect(self.file) as db:
            rows = db.execute("SELECT points FROM stages WHERE job = ? ORDER BY number", (job_id,)).fetchall()
        found = (read_point(line) for row in rows for line in row["points"].splitlines())
        return tuple(point for point in found if point is not None)

    def pictures(self, like: PicturesRequest, units: Sequence[int]) -> dict[int, bytes]:
        """Unit -> stored UnitPicture as bytes, for the model, layer, settings and seed of the request `like`."""
        question = picture_question(like.model.sha256, like.layer, like.settings, like.seed)
        with connect(self.file) as db:
            rows = db.execute("SELECT unit, sha256 FROM pictures WHERE question = ?", (question,)).fetchall()
        own = {row["unit"]: row["sha256"] for row in rows if self.store.has(row["sha256"])}
        shipped = self.shipped.pictures(question, units)
        return {u: self.store.get(own[u]) if u in own else shipped[u] for u in units if u in own or u in shipped}

    def checkpoint(self, sha256: str) -> bytes:
        """Safetensors bytes of a shipped, uploaded, trained or merged network. Raises InvalidRequest if unknown."""
        return models.checkpoint(self, sha256)

    def checkpoint_file(self, sha256: str) -> Path | None:
        """File of a shipped, uploaded, trained or merged network, None if the network has no file of its own."""
        return models.checkpoint_file(self, sha256)

    def models(self, owner: str | None = None) -> tuple[Entry, ...]:
        """Uploaded and trained models of one owner (None: of all owners), newest first."""
        return models.models(self, owner)

    def add_model(self, entry: Entry, data: bytes, owner: str, address: str = "") -> Entry:
        """Store a model of this owner, who has this network address ("": this machine).

        Raises InvalidRequest if a cap is reached.
        """
        check_owner(owner)
        return models.add(self, entry, data, owner, address)

    def delete_model(self, id: str, owner: str) -> None:
        """Delete the owner's model. Raises InvalidRequest if it belongs to someone else, or an open job needs it."""
        models.delete(self, id, owner)

    def workers(self) -> tuple[Worker, ...]:
        """Workers that reported within the last SILENT seconds."""
        query = (
            "SELECT name, device, busy, memory_used, memory_total, gpu_memory_used, gpu_memory_total, node, seen"
            " FROM workers WHERE seen > ? ORDER BY name"
        )
        with connect(self.file) as db:
            return tuple(Worker(*row) for row in db.execute(query, (time.time() - SILENT,)))

    def _found(self, id_or_prefix: str) -> tuple[Job, ...]:
        prefix = _prefix(id_or_prefix)
        if not prefix:
            return ()
        with connect(self.file) as db, snapshot(db):
            rows = db.execute("SELECT * FROM jobs WHERE id >= ? AND id < ? LIMIT 2", (prefix, prefix + "g")).fetchall()
            return read_jobs(db, rows, self.shipped.past)

    def _known(self, id: str) -> Job:
        job = self.job(id)
        if job is None:
            raise MergescopeError("The run was deleted a moment ago. Submit it again.")
        return job

    def _whole(self, db: sqlite3.Connection, request: Request) -> bool:
        if isinstance(request, DownloadRequest):
            return available(request.dataset) in ("folder", "downloaded")
        hashes = dict(map(tuple, db.execute("SELECT name, sha256 FROM artifacts WHERE job = ?", (request.id,))))
        needed = {"report", "checkpoint.safetensors"} if isinstance(request, TrainRequest) else set()
        return needed <= hashes.keys() and all(self.store.has(sha256) for sha256 in hashes.values())

    def _list_trained(self, files: Filing, request: TrainRequest, owner: str, address: str) -> None:
        """List the network of a finished training for a further person, or again for one who deleted it."""
        made = dict(map(tuple, files.db.execute("SELECT name, sha256 FROM artifacts WHERE job = ?", (request.id,))))
        if not models.listed(files.db, made["checkpoint.safetensors"], owner):
            artifacts = {name: self.store.get(made[name]) for name in ("report", "checkpoint.safetensors")}
            data = artifacts["checkpoint.safetensors"]
            models.insert(self, files, trained_entry(request, owner, artifacts), data, owner, address)


def end(db: sqlite3.Connection, id: str, state: str, now: float) -> None:
    """Set a job's final state and end time, never before its start, and end its last stage. Call in a transaction."""
    update = "UPDATE jobs SET state = ?, finished = MAX(?, COALESCE(started, created)), dispatcher = '' WHERE id = ?"
    db.execute(update, (state, now, id))
    db.execute("UPDATE stages SET seconds = MAX(? - began, 0) WHERE job = ? AND seconds IS NULL", (now, id))


def _prefix(text: str) -> str:
    """Lower-case job id, or beginning of one, for a search; "" if the text is neither."""
    prefix = text.strip().lower()
    return prefix if len(prefix) >= SHORTEST_PREFIX and set(prefix) <= set("0123456789abcdef") else ""


def _enqueue(folder: LedgerFolder, db: sqlite3.Connection, request: Request, owner: str, place: str, lane: str) -> None:
    db.execute("DELETE FROM stages WHERE job = ?", (request.id,))
    # Owners of a failed or cancelled attempt did not request the new one; if they stayed, cancelling would not stop it.
    ended = "SELECT id FROM jobs WHERE id = ? AND state IN ('failed', 'cancelled')"
    db.execute(f"DELETE FROM owners WHERE job IN ({ended})", (request.id,))
    stand_in_line(db, lane, (owner, place))
    access = Access(db, folder.shipped, ANYONE)
    text, now = request.to_json(), time.time()
    hidden, title = access.hidden_parts(json.loads(text)), models.public_title(db, request)
    # A later request gets a later time than all open ones, even if the machine's clock was set back in between.
    created = "MAX(?, (SELECT COALESCE(MAX(created), 0) + 0.000001 FROM jobs WHERE state IN ('queued', 'running')))"
    db.execute(
        "INSERT INTO jobs (id, kind, title, request, owner, place, lane, private, hidden, state, created) VALUES"
        f" (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', {created})"
        " ON CONFLICT (id) DO UPDATE SET state = 'queued', owner = excluded.owner, place = excluded.place,"
        " lane = excluded.lane, private = excluded.private, hidden = excluded.hidden, created = excluded.created,"
        " title = excluded.title, request = excluded.request,"
        " started = NULL, finished = NULL, stage = '', fraction = 0, message = '', error = NULL, attempts = 0,"
        " interrupted = 0, measured = 0, accuracy = NULL, barrier = NULL,"
        " dispatcher = '', worker = ''",
        (request.id, request.kind, title, text, owner, place, lane, bool(hidden), " ".join(hidden), now),
    )
