"""Jobs and workers as pages show them, and the queue: fair order, positions, remaining time."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from merging.jobs.forecast import KEPT, forecast
from merging.jobs.requests.base import LANES
from merging.jobs.requests.estimates import Past
from merging.jobs.turns import queues

OPEN = ("queued", "running")
STATES = (*OPEN, "done", "failed", "cancelled")
COPIED = ("id", "kind", "title", "state", "owner", "created", "started", "finished")
TOLD = ("stage", "fraction", "message", "attempts", "worker")
KEPT_QUEUES = 8  # largest number of cached queues; the oldest is dropped
log = logging.getLogger(__name__)
TELLING = 0.1  # once this share of a job is completed, its own pace helps to predict its end


@dataclass(frozen=True)
class Job:
    """A request and its progress. Times are seconds since 1970.

    Attributes:
        owner: the person whose turn in the queue the job uses; owners: all people who requested the job.
        fraction: completed share of the whole job, 0 to 1.
        stages: (stage, message, seconds).
        eta: seconds until the job is done, None if unknown.
        position: 1 for the next job in the queue, 0 for a job that is not queued.
        error: {"kind": class name, "text": for the user, "details": of an unexpected error}, None without an error.
    """

    id: str
    kind: str
    title: str
    request: dict[str, Any]
    state: str
    owner: str = ""
    owners: tuple[str, ...] = ()
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    stage: str = ""
    fraction: float = 0.0
    message: str = ""
    stages: tuple[tuple[str, str, float], ...] = ()
    eta: float | None = None
    position: int = 0
    error: dict[str, str] | None = None
    attempts: int = 0
    worker: str = ""
    example: bool = field(default=False)  # whether the job is a shipped run

    @property
    def open(self) -> bool:
        """Whether the job is queued or running."""
        return self.state in OPEN


@dataclass(frozen=True)
class Worker:
    """A slot for jobs. busy: id of its job or "". Memory in bytes; GPU memory None without a GPU. seen: last report."""

    name: str
    device: str
    busy: str
    memory_used: int
    memory_total: int
    gpu_memory_used: int | None
    gpu_memory_total: int | None
    node: str
    seen: float


def time_left(fraction: float, elapsed: float, usual: float | None) -> float | None:
    """Seconds until a running job is done, None if unknown.

    The result is a weighted mean of two estimates of the remaining time: the forecast duration `usual` (None without a
    forecast) minus `elapsed`, and the extrapolated pace of the job, (1 - fraction) elapsed / fraction. The weight of
    the pace grows with `fraction` and with elapsed / usual. Below TELLING, only the forecast is used.
    """
    if fraction < TELLING:
        return usual - elapsed if usual is not None and elapsed < usual else None
    pace = elapsed * (1 - fraction) / fraction
    if usual is None:
        return pace
    weight = max(fraction, min(elapsed / usual, 1.0)) ** 4 if usual > 0 else 1.0
    return (1 - weight) * max(usual - elapsed, 0.0) + weight * pace


def read_past(db: sqlite3.Connection, kinds: Iterable[str]) -> list[Past]:
    """The latest finished jobs of these kinds, for forecasts."""
    last = (
        "SELECT id, kind, request, finished - started AS seconds FROM jobs WHERE state = 'done' AND kind = ?"
        " ORDER BY finished DESC LIMIT ?"
    )
    rows = [row for kind in sorted(set(kinds)) for row in db.execute(last, (kind, KEPT)) if _request(row) is not None]
    spent = f"SELECT job, stage, seconds FROM stages WHERE job IN ({', '.join('?' * len(rows))})"
    stages: dict[str, dict[str, float]] = {row["id"]: {} for row in rows}
    for job, stage, seconds in db.execute(spent, [row["id"] for row in rows]):
        stages[job][stage] = seconds or 0.0
    return [
        Past(json.loads(row["request"]), {**durations, "": max((row["seconds"] or 0.0) - sum(durations.values()), 0.0)})
        for row, durations in ((row, stages[row["id"]]) for row in rows)
    ]


def read_jobs(db: sqlite3.Connection, rows: Sequence[sqlite3.Row], examples: Sequence[Past] = ()) -> tuple[Job, ...]:
    """Convert rows of the table `jobs` to Jobs with current positions and remaining times. Call it inside a snapshot.

    examples: finished jobs of another machine, used for forecasts if this machine has no similar jobs.
    """
    whole = [row for row in rows if _is_whole(row)]
    outlook = _outlook(db, examples) if any(row["state"] in OPEN for row in whole) else _Outlook()
    return tuple(_job(db, row, outlook) for row in whole)


def _is_whole(row: sqlite3.Row) -> bool:
    """Whether the row can be read. Damaged rows are skipped, so that the other jobs are still shown."""
    whole = (
        _request(row) is not None
        and isinstance(row["title"], str)
        and (not row["error"] or _json_of(row["error"]) is not None)
    )
    if not whole:
        log.warning("job %s cannot be read from the ledger and is left out", row["id"])
    return whole


@dataclass(frozen=True)
class _Outlook:
    """Forecast of all open jobs. positions: id -> position in its lane. seconds: id -> remaining, None if unknown."""

    positions: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Queue:
    """The queue with the forecast durations of all open jobs, which change only when the queue changes.

    Attributes:
        positions: id -> position in its lane of the queue, from 1.
        lanes: id -> lane.
        usual: id -> forecast duration in seconds, None if unknown.
        ahead: id of a queued job -> (total of the known durations ahead of it in its lane, number of unknown ones).
    """

    positions: Mapping[str, int]
    lanes: Mapping[str, str]
    usual: Mapping[str, float | None]
    ahead: Mapping[str, tuple[float, int]]


_queues: dict[Any, _Queue] = {}  # key: everything on which a queue depends; all visitors share this cache
_looking = threading.Lock()


def _outlook(db: sqlite3.Connection, examples: Sequence[Past]) -> _Outlook:
    now, waiting = time.time(), _cached_queue(db, examples)
    running = db.execute("SELECT id, lane, fraction, started, deadline FROM jobs WHERE state = 'running'").fetchall()
    seconds = {
        row["id"]: time_left(row["fraction"], max(now - (row["started"] or now), 0.0), waiting.usual.get(row["id"]))
        for row in running
    }
    # Jobs that are done in one pass have one deadline, and occupy one worker.
    passes = {(row["lane"], row["deadline"]): seconds[row["id"]] or 0.0 for row in running}
    left = {lane: [spent for (own, _), spent in passes.items() if own == lane] for lane in LANES}
    for id, (known, unknown) in waiting.ahead.items():
        own, lane = waiting.usual[id], waiting.lanes[id]
        before, slots = sum(left.get(lane, ())), max(1, len(left.get(lane, ())))
        # A job of unknown duration is assumed to take as long as the job that waits for it.
        seconds[id] = None if own is None else (before + known + unknown * own) / slots + own
    return _Outlook(waiting.positions, seconds)


def _cached_queue(db: sqlite3.Connection, examples: Sequence[Past]) -> _Queue:
    """The current queue; read again if a job was added, removed, started or finished since the last call."""
    query = "SELECT COUNT(*), SUM(created), MAX(created), SUM(started) FROM jobs WHERE state = ?"
    state = [tuple(db.execute(query, (which,)).fetchone()) for which in OPEN]
    past = tuple(db.execute("SELECT COUNT(*), MAX(finished) FROM jobs WHERE state = 'done'").fetchone())
    file = db.execute("PRAGMA database_list").fetchone()[2]
    key = (file, *state, past, db.execute("SELECT MAX(at) FROM served").fetchone()[0], len(examples))
    with _looking:  # other threads wait while one thread reads the queue
        if key not in _queues:
            while len(_queues) >= KEPT_QUEUES:
                del _queues[next(iter(_queues))]
            _queues[key] = _read_queue(db, examples)
        return _queues[key]


def _read_queue(db: sqlite3.Connection, examples: Sequence[Past]) -> _Queue:
    query = "SELECT id, kind, request FROM jobs WHERE state IN ('queued', 'running')"
    requests = {row["id"]: request for row in db.execute(query) if (request := _request(row)) is not None}
    past = read_past(db, (request["kind"] for request in requests.values()))
    expected: dict[str, float | None] = {}  # one forecast for all requests that differ only in the seed
    usual = dict[str, float | None]()
    for id, request in requests.items():
        key = json.dumps({**request, "seed": 0}, sort_keys=True)
        if key not in expected:
            expected[key] = sum((forecast(request, past) or forecast(request, examples)).values()) or None
        usual[id] = expected[key]
    positions, lanes, ahead = dict[str, int](), dict[str, str](), dict[str, tuple[float, int]]()
    for lane, ids in queues(db).items():
        known, unknown = 0.0, 0
        for number, id in enumerate((id for id in ids if id in usual), 1):
            positions[id], lanes[id], ahead[id] = number, lane, (known, unknown)
            known, unknown = known + (usual[id] or 0.0), unknown + (not usual[id])
    return _Queue(positions, lanes, usual, ahead)


def _job(db: sqlite3.Connection, row: sqlite3.Row, outlook: _Outlook) -> Job:
    owners = db.execute("SELECT owner FROM owners WHERE job = ? ORDER BY asked", (row["id"],))
    return Job(
        **{name: row[name] for name in COPIED + TOLD},
        request=json.loads(row["request"]),
        owners=tuple(owner[0] for owner in owners),
        stages=_stages(db, row["id"], row["finished"] or time.time()),
        eta=outlook.seconds.get(row["id"]),
        position=outlook.positions.get(row["id"], 0),
        error=json.loads(row["error"]) if row["error"] else None,
    )


def _request(row: sqlite3.Row) -> dict[str, Any] | None:
    """The row's request as JSON values; None if it is damaged or of another kind than the row."""
    request = _json_of(row["request"])
    return request if request is not None and request.get("kind") == row["kind"] else None


def _json_of(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _stages(db: sqlite3.Connection, job: str, until: float) -> tuple[tuple[str, str, float], ...]:
    rows = db.execute("SELECT stage, message, began, seconds FROM stages WHERE job = ? ORDER BY number", (job,))
    return tuple(
        (r["stage"], r["message"], max(until - r["began"], 0.0) if r["seconds"] is None else r["seconds"]) for r in rows
    )
