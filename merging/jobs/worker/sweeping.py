"""A running sweep: submits its trainings and merges a few at a time, and ends when none of them is left."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from merging.errors import InvalidRequest, MergescopeError, TooManyJobs
from merging.jobs.ledger.dispatcher_access import Claim, Desk
from merging.jobs.ledger.jobs import OPEN
from merging.jobs.outcome import Outcome
from merging.jobs.requests.base import Request
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.search import withdraw_batch
from merging.jobs.sweeps.look import Look, Part, look
from merging.results import saving
from merging.results.sweep_report import SweepReport

EVERY = 0.5  # shortest time between two looks in seconds
PAUSE = 20  # time between two looks, in durations of a look, so that large sweeps do not keep the dispatcher busy
AHEAD = 2  # open parts per seat of the workers, so that a worker never waits and other jobs of the person have turns


@dataclass
class Sweeping:
    """A sweep that a dispatcher claimed.

    Attributes:
        desk: the dispatcher's access to the ledger.
        claim: the sweep's job.
        seats: number of jobs that run at the same time.
        tried: ids of the parts that were submitted, or whose end is known; none of them is submitted again.
        errors: id of a part that could not be submitted -> reason.
        next_look: time of the next look on the monotonic clock, in seconds.
    """

    desk: Desk
    claim: Claim
    seats: int
    tried: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)
    next_look: float = 0.0

    def outcome(self) -> Outcome | None:
        """Look at the parts, if it is time, and submit the next ones; return the outcome once all have ended."""
        began = time.monotonic()
        if began < self.next_look:
            return None
        try:
            seen = look(self.desk.ledger, self._sweep, self.claim.owner)
            is_open = self._submit(seen)
        except MergescopeError as error:
            return Outcome(error={"kind": type(error).__name__, "text": str(error)})
        self._tell(seen)
        now = time.monotonic()
        self.next_look = now + max(EVERY, PAUSE * (now - began))
        return None if is_open else self._end(seen)

    @property
    def _sweep(self) -> SweepRequest:
        assert isinstance(self.claim.request, SweepRequest)
        return self.claim.request

    def withdraw(self, kept: Collection[str] = ()) -> None:
        """Withdraw the open parts, because the sweep was paused or deleted. kept: ids of parts that stay."""
        withdraw_batch(self.desk.ledger, self._sweep.batch, kept)

    def leave(self) -> None:
        """Nothing: the dispatcher ends, and the next one goes on."""

    def _submit(self, seen: Look) -> bool:
        """Submit parts while there is room; return whether any part is open or can still be submitted."""
        parts = seen.parts
        room = self.seats * AHEAD - sum(part.state in OPEN for part in parts)
        waiting = False
        for part in parts:
            if part.state in OPEN:
                self.tried.add(part.request.id)
                waiting = True
            elif not _finished(part) and part.request.id not in self.tried:
                waiting = True
                if room > 0:
                    room -= self._submit_one(part.request)
        return waiting

    def _submit_one(self, request: Request) -> bool:
        """Submit a part for everybody who asked for the sweep; False if it has to wait."""
        done = False
        for owner, address in self.desk.people(self.claim.id):
            try:
                self.desk.ledger.submit(request, owner, address=address, batch=self._sweep.batch)
                done = True
            except TooManyJobs:
                continue
            except InvalidRequest as error:
                self.errors[request.id] = str(error)
                done = True
        if done:
            self.tried.add(request.id)
        return done

    def _tell(self, seen: Look) -> None:
        trained, merged = seen.done
        message = f"{trained} of {len(seen.trainings)} networks trained, {merged} of {len(seen.merges)} merges measured"
        self.desk.tell(self.claim, "sweeping", seen.share, message)

    def _end(self, seen: Look) -> Outcome:
        rows = seen.rows(self.desk.ledger)
        if not any(row.state == "done" for row in rows):
            return Outcome(error={"kind": "MergescopeError", "text": self._why_nothing(seen)})
        report = SweepReport(json.loads(self._sweep.to_json()), tuple(rows))
        return Outcome(artifacts={"report": saving.save(report)})

    def _why_nothing(self, seen: Look) -> str:
        first = next(iter(self.errors.values()), "")
        jobs = [self.desk.ledger.job(part.request.id) for part in (*seen.parts, *seen.trainings)]
        reasons = [job.error["text"] for job in jobs if job is not None and job.state == "failed" and job.error]
        return f"No merge of this sweep succeeded. {first or next(iter(reasons), 'All parts were cancelled.')}"


def _finished(part: Part) -> bool:
    """Whether nothing is left to do; a cell waits for a finished training only if its network was lost or damaged."""
    return part.state == "done" and isinstance(part.request, MergeRequest)
