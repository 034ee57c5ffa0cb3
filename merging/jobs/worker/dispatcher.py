"""Dispatcher: the loop between ledger and workers that starts jobs, records progress and outcomes, and stops jobs."""

from __future__ import annotations

import itertools
import logging
import shutil
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import psutil

from merging.errors import MergescopeError
from merging.jobs.claims import Claim
from merging.jobs.forecast import shares
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.jobs import Worker
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.outcome import Outcome, unexpected
from merging.jobs.requests.base import APART, LONG, MOST_TOGETHER, PLANNED, SHORT
from merging.jobs.requests.download import DownloadRequest
from merging.jobs.requests.registry import kinds
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.stages import overall
from merging.jobs.tasks.machine import Place
from merging.jobs.tasks.payload import Payload
from merging.jobs.trained import trained_entry
from merging.jobs.worker.downloading import Download
from merging.jobs.worker.engine import Engine
from merging.jobs.worker.gather import gather_payload
from merging.jobs.worker.ray_task import Key
from merging.jobs.worker.running import Running
from merging.jobs.worker.sweeping import Sweeping, withdraw_all

TICK = 0.05  # seconds between two steps of the loop
BEAT = 1.0  # seconds between two heartbeats
LOOKS = 0.05  # seconds of a step after which no further sweep is looked at
KINDS = tuple(kinds())
log = logging.getLogger(__name__)


@dataclass
class Dispatcher:
    """Runs a ledger's jobs until `stop` is set. All steps run in one thread, and none waits for the end of a job."""

    ledger: Ledger
    engine: Engine
    stop: threading.Event
    running: dict[Key, Running] = field(default_factory=dict)
    last_beat: float = 0.0

    def __post_init__(self) -> None:
        self.desk = Desk(self.ledger, psutil.Process().create_time())
        self.slots = self.engine.slots()
        self.warming = [(lane, self.engine.warm(lane)) for lane in [LONG] * self.slots + [SHORT]]
        self.places: list[Place] = []
        self.starts = itertools.count()
        self.scratch = self.ledger.folder / "scratch"
        _clear_old(self.scratch, self.ledger.limits.deadline("merge"))

    def run(self) -> None:
        """Run until `stop` is set; then put running jobs back into the queue."""
        try:
            while not self.stop.is_set():
                self.step()
                self.stop.wait(TICK)
        finally:
            for job in self.running.values():
                if isinstance(job.work, Download):
                    job.work.stop()
                elif job.own is None:
                    self.engine.kill(job.work)
                self._clear(job)
            self.desk.leave()

    def step(self) -> None:
        """Do one round of the loop."""
        self._collect_warm()
        self._pass_on_mails()
        self._stop_unwanted()
        self._collect()
        self._beat()
        self._start()

    def _start(self) -> None:
        while True:
            lanes = self._lanes()
            claim = self.desk.claim(KINDS, lanes) if self.desk.waiting(KINDS, lanes) else None
            if claim is None:
                return
            self._begin(claim)

    def _lanes(self) -> tuple[str, ...]:
        """Lanes whose jobs may start now.

        Besides the slots there is one seat more, which long jobs never take, so that short jobs do not wait for them.
        """
        running = Counter(job.claim.lane for job in self.running.values())
        free = running[LONG] + running[SHORT] < self.slots + 1
        wanted = {LONG: free and running[LONG] < self.slots, SHORT: free, APART: not running[APART], PLANNED: True}
        return tuple(lane for lane, may in wanted.items() if may)

    def _begin(self, claim: Claim) -> None:
        claims: tuple[Claim, ...] = (claim,)
        key = claim.id, next(self.starts)  # the number of a run is no key: a deleted job begins again at 1
        try:
            if isinstance(claim.request, DownloadRequest):
                work: Any = Download.start(claim.request.dataset)
            elif isinstance(claim.request, SweepRequest):
                work = Sweeping(self.desk, claim, self.slots)
            else:
                payload = self._payload(claim)
                claims = self._with_company(claim)
                company = tuple(one.request.to_json() for one in claims) if len(claims) > 1 else ()
                payload = replace(payload, company=company)
                work = self.engine.start(claim.request.kind, claim.lane, payload, key)
        except MergescopeError as error:
            for one in claims:
                self.desk.fail(one, {"kind": type(error).__name__, "text": str(error)})
            return
        seats = {job.seat for job in self.running.values() if job.own is None}
        seat = next(number for number in range(len(seats) + 1) if number not in seats)
        expected = shares(self.ledger.expected(claim.request), claim.request.shares())
        self.running[key] = Running(key, claims, work, seat=seat, shares=expected)
        self.last_beat = 0.0

    def _with_company(self, claim: Claim) -> tuple[Claim, ...]:
        """All jobs that are done in one pass with this one. On a GPU, such small jobs are not faster together."""
        if self.engine.plan.device == "cpu":
            with suppress(MergescopeError):  # the ledger is busy: the job is done by itself
                return self.desk.claim_company(claim, MOST_TOGETHER, self.slots)
        return (claim,)

    def _payload(self, claim: Claim) -> Payload:
        plan = self.engine.plan
        folder = self.scratch / f"{claim.id}-{claim.run}" if self.engine.is_local else None
        threads = plan.threads if claim.lane == LONG else 1
        return gather_payload(self.ledger, claim.request, plan.device, threads, folder=folder)

    def _pass_on_mails(self) -> None:
        for mail in self.engine.mails() if self.running else []:
            job = self.running.get(mail.key)
            if job is not None:
                job.place = mail.place
                share = overall(job.shares, mail.stage, mail.fraction)
                self.desk.tell_all(job.claims, mail.stage, share, mail.message, mail.place.node)

    def _stop_unwanted(self) -> None:
        """Kill jobs that were cancelled or deleted, or that exceeded their deadline; their workers are free at once.

        Work for several jobs goes on while one of them is wanted.
        """
        held = self.desk.held() if self.running else {}
        unwanted = []
        for job in list(self.running.values()):
            wanted = tuple(claim for claim in job.claims if held.get(claim.id) == claim.run)
            if not wanted:
                unwanted.append(job)
                continue
            job.claims = wanted
            if self.desk.now() > job.claim.deadline:
                limit = job.claim.together * self.ledger.limits.deadline(job.claim.request.kind)
                text = f"The job exceeded {limit:,.0f} seconds and was stopped. Use fewer images or a smaller network."
                for claim in wanted:
                    self.desk.fail(claim, {"kind": "DeadlineExceeded", "text": text})
                unwanted.append(job)
        for job in unwanted:
            self._drop(job)
        withdraw_all([one for job in unwanted if isinstance(one := job.work, Sweeping) and not one.is_open])  # slow

    def _collect(self) -> None:
        for job in list(self.running.values()):
            if job.own is None and self.engine.ready(job.work):
                self._pass_on_mails()
                self._finish(job, self.engine.result(job.work))
        self._look_at_own()

    def _look_at_own(self) -> None:
        """Look at the work that the dispatcher does itself; what has waited longest comes first."""
        end = time.monotonic() + LOOKS
        for job in sorted(self.running.values(), key=attrgetter("next_look")):
            if job.own is not None and (outcome := job.own.outcome()) is not None:
                self._finish(job, outcome)
            if time.monotonic() > end:  # everybody's jobs wait for this step
                return

    def _finish(self, job: Running, outcome: Outcome | None) -> None:
        del self.running[job.key]
        self.last_beat = 0.0
        if outcome is None:
            self._rewarm(job.claim.lane)
        for claim in job.claims:
            self._end(claim, outcome.of(claim.id) if outcome is not None else None)
        self._clear(job)

    def _end(self, claim: Claim, outcome: Outcome | None) -> None:
        if outcome is None:
            self._lost(claim)
        elif outcome.error is not None:
            log.warning("job %s failed: %s", claim.id[:12], outcome.error)
            self.desk.fail(claim, outcome.error)
        else:
            self._store_outcome(claim, outcome)

    def _store_outcome(self, claim: Claim, outcome: Outcome) -> None:
        try:
            trains = claim.request.kind == "train"
            model = trained_entry(claim.request, claim.owner, outcome.artifacts) if trains else None
            self.desk.finish(claim, outcome.artifacts, model)
        except MergescopeError as error:
            self.desk.fail(claim, {"kind": type(error).__name__, "text": str(error)})
        except OSError as error:
            self.desk.fail(claim, unexpected(error, "saving"))

    def _lost(self, claim: Claim) -> None:
        """Handle a dead worker: requeue the job, or fail it after its last attempt."""
        if claim.attempts < self.ledger.limits.attempts:
            self.desk.give_back(claim, counted=True)
            return
        times = "twice" if claim.attempts == 2 else f"{claim.attempts} times"
        why = f"The worker process died {times} during this job, perhaps because it ran out of memory."
        self.desk.fail(claim, {"kind": "WorkerLost", "text": f"{why} Use fewer images or a smaller network."})

    def _drop(self, job: Running) -> None:
        del self.running[job.key]
        self.last_beat = 0.0
        if isinstance(job.work, Download):
            job.work.stop()
        if job.own is not None:
            return
        self.engine.kill(job.work)
        self._clear(job)
        self._rewarm(job.claim.lane)

    def _rewarm(self, lane: str) -> None:
        """Warm up the successor of a lost worker process. On a GPU this is useless: each job starts a new process."""
        if self.engine.plan.device == "cpu":
            self.warming.append((lane, self.engine.warm(lane)))

    def _clear(self, job: Running) -> None:
        """Delete the folder of a streamed merge."""
        shutil.rmtree(self.scratch / f"{job.claim.id}-{job.claim.run}", ignore_errors=True)

    def _collect_warm(self) -> None:
        for lane, reference in [(lane, one) for lane, one in self.warming if self.engine.ready(one)]:
            self.warming.remove((lane, reference))
            place = self.engine.result(reference)
            if place is not None and lane == LONG:
                self.places = [place, *self.places][: self.slots]
                self.last_beat = 0.0
                if self.engine.plan.device == "cuda" and place.gpu_memory_total is None:
                    log.warning("Ray sees a GPU but torch cannot use it: jobs run on the CPU")
                    self.engine.use("cpu")

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self.last_beat < BEAT:
            return
        self.last_beat, self.slots = now, self.engine.slots()  # nodes may join or leave a cluster
        self.desk.beat(self._workers())
        for id in self.desk.reap(_alive):
            log.warning("job %s was taken over from a dead dispatcher", id[:12])

    def _workers(self) -> list[Worker]:
        """One row per seat, with the job that runs in it, if any."""
        if not self.places:
            return []
        jobs = {job.seat: job for job in self.running.values() if job.own is None}
        seats = range(max(self.slots, max(jobs, default=0)) + 1)
        return [self._worker(seat, jobs.get(seat)) for seat in seats]

    def _worker(self, seat: int, job: Running | None) -> Worker:
        place = (job.place if job else None) or self.places[seat % len(self.places)]
        gpu = (place.gpu_memory_used if job else None, place.gpu_memory_total)
        memory = psutil.virtual_memory()
        used = memory.total - memory.available if memory.total == place.memory_total else place.memory_used
        name = f"{self.desk.id[:8]}-{seat + 1}"
        return Worker(name, place.device, job.claim.id if job else "", used, place.memory_total, *gpu, place.node, 0.0)


def _alive(pid: int, born: float) -> bool:
    """Whether a process with this process id runs and was started at `born`, in seconds since 1970."""
    try:
        return abs(psutil.Process(pid).create_time() - born) < 1
    except psutil.Error:
        return False


def _clear_old(folder: Path, seconds: float) -> None:
    """Delete folders that a killed dispatcher left behind: those unchanged for longer than a merge may run."""
    for old in folder.glob("*"):
        with suppress(FileNotFoundError):  # another dispatcher of the same home deleted it
            if time.time() - old.stat().st_mtime > seconds:
                shutil.rmtree(old, ignore_errors=True)
