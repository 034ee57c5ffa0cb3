"""A running sweep: submits its trainings and merges a few at a time, and ends when none of them is left."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from merging.errors import InvalidRequest, MergescopeError, TooManyJobs
from merging.jobs.claims import Claim
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.jobs import OPEN
from merging.jobs.outcome import Outcome
from merging.jobs.requests.base import LONG, MOST_TOGETHER, Request
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.requests.train import TrainRequest
from merging.jobs.sweeps.look import SweepLook, SweepPart, look_at_sweep, withdraw_parts
from merging.results import saving
from merging.results.sweep_report import SweepReport, SweepRow

EVERY = 0.5  # shortest time between two looks in seconds
PAUSE = 4  # time between two looks, in durations of a look, so that large sweeps do not keep the dispatcher busy
AHEAD = 2  # turns per seat of the workers, so that a worker seldom waits and other jobs of the person come soon
TIMES = 2  # how often a part is submitted: once more if it was deleted to make room


@dataclass
class Sweeping:
    """A sweep that a dispatcher claimed.

    Attributes:
        desk: the dispatcher's access to the ledger.
        claim: the sweep's job.
        seats: number of jobs that run at the same time.
        tried: id of a part -> how often it was submitted.
        errors: id of a part that could not be submitted -> reason.
        people: all who asked for the sweep so far.
        finished: finished rows by their place in the sweep; they stay when their runs are deleted to make room.
        waits: why no part could be submitted, "" if one could.
        next_look: time of the next look on the monotonic clock, in seconds.
    """

    desk: Desk
    claim: Claim
    seats: int
    tried: Counter[str] = field(default_factory=Counter)
    errors: dict[str, str] = field(default_factory=dict)
    people: set[str] = field(default_factory=set)
    finished: dict[Any, SweepRow] = field(default_factory=dict)
    waits: str = ""
    next_look: float = 0.0

    def __post_init__(self) -> None:
        job = self.desk.ledger.local_run(self.claim.id)
        self._since = job.created if job is not None else 0.0

    def outcome(self) -> Outcome | None:
        """Look at the parts, if it is time, and submit the next ones; return the outcome once all have ended."""
        began = time.monotonic()
        if began < self.next_look:
            return None
        try:
            people = self.desk.people(self.claim.id)
            self.people.update(owner for owner, _ in people)
            seen = look_at_sweep(self.desk.ledger, self.sweep, people[0][0] if people else self.claim.owner)
            is_open = self._submit(seen, people)
            self._keep(seen)
        except MergescopeError as error:
            withdraw_all([self])
            return Outcome(error={"kind": type(error).__name__, "text": str(error)})
        self._tell(seen)
        now = time.monotonic()
        self.next_look = now + max(EVERY, PAUSE * (now - began))
        return None if is_open else self._end(seen)

    @property
    def sweep(self) -> SweepRequest:
        """The request."""
        assert isinstance(self.claim.request, SweepRequest)
        return self.claim.request

    @property
    def is_open(self) -> bool:
        """Whether the sweep is open: also after this run of it was paused, if it was asked for again."""
        job = self.desk.ledger.local_run(self.claim.id)
        return job is not None and job.open

    def _submit(self, seen: SweepLook, people: list[tuple[str, str]]) -> bool:
        """Submit parts while there is room; return whether any part is open or can still be submitted."""
        parts = seen.parts
        ahead = Counter(_company(part) for part in parts if part.state in OPEN)
        waiting, self.waits = False, ""
        for part in parts:
            if part.state in OPEN:
                if not self.tried[part.request.id]:  # it stays if others withdraw from it
                    self._submit_one(part.request, people)
                waiting = True
            elif self._is_left(part, people):
                waiting, company = True, _company(part)
                if self._has_room(ahead, company):
                    ahead[company] += self._submit_one(part.request, people)
        return waiting

    def _has_room(self, ahead: Counter[str], company: str) -> bool:
        """Whether a part of this company may be submitted. ahead: company -> number of open parts."""
        turns = sum(-(-number // MOST_TOGETHER) for number in (ahead + Counter([company])).values())
        return turns <= self.seats * AHEAD

    def _is_left(self, part: SweepPart, people: list[tuple[str, str]]) -> bool:
        """Whether a part that is not open should be submitted.

        A cell waits for a finished training only if its network was lost. A part that failed since the sweep was asked
        for, or that one of its people cancelled, is not tried again, also not by another dispatcher.
        """
        if part.state == "done" and not isinstance(part.request, TrainRequest):
            return False
        if part.state == "failed" and part.finished > self._since:
            return False
        if part.state == "cancelled" and part.finished > self._since:
            ours = {owner for owner, _ in people}
            if any(owner in ours for owner, _ in self.desk.people(part.request.id)):
                return False
        return self.tried[part.request.id] < (TIMES if part.state in ("", "done") else 1)

    def _submit_one(self, request: Request, people: list[tuple[str, str]]) -> bool:
        """Submit a part for everybody who asked for the sweep; False if it has to wait."""
        done = False
        for owner, address in people:
            try:
                self.desk.ledger.submit(request, owner, address=address, batch=self.sweep.batch, lane=LONG)
                done = True
            except TooManyJobs as error:
                self.waits = str(error)
            except InvalidRequest as error:
                self.errors[request.id] = str(error)
                self.tried[request.id] = TIMES
                done = True
        self.tried[request.id] += done
        return done

    def _keep(self, seen: SweepLook) -> None:
        for row in seen.rows(self.desk.ledger):
            if row.state == "done" and row.measures:
                kept = self.finished.get(_place(row), row)  # studies may be deleted before the sweep ends
                self.finished[_place(row)] = replace(row, measures=kept.measures | row.measures)

    def _tell(self, seen: SweepLook) -> None:
        trained, merged, studied = seen.done
        merges, studies = seen.wanted
        message = f"{trained} of {len(seen.trainings)} networks trained, {merged} of {merges} merges measured"
        if studies:
            message += f", {studied} of {studies} studies done"
        is_open = any(part.state in OPEN for part in seen.parts)
        waits = f". {self.waits}" if self.waits and not is_open else ""
        self.desk.tell(self.claim, "sweeping", seen.share, f"{message}{waits}")

    def _end(self, seen: SweepLook) -> Outcome:
        rows = tuple(self.finished.get(_place(row), row) for row in seen.rows(self.desk.ledger))
        rows = tuple(replace(row, state="failed") if row.state in ("", *OPEN) else row for row in rows)
        if not any(row.state == "done" for row in rows):
            return Outcome(error={"kind": "MergescopeError", "text": self._why_nothing(seen)})
        report = SweepReport(json.loads(self.sweep.to_json()), rows)
        return Outcome(artifacts={"report": saving.save(report)})

    def _why_nothing(self, seen: SweepLook) -> str:
        first = next(iter(self.errors.values()), "")
        jobs = [self.desk.ledger.job(part.request.id) for part in (*seen.parts, *seen.trainings)]
        reasons = [job.error["text"] for job in jobs if job is not None and job.state == "failed" and job.error]
        usual = "Its trainings or merges were cancelled, or deleted to make room."
        return f"No merge of this sweep succeeded. {first or next(iter(reasons), usual)}"


def withdraw_all(sweeps: Sequence[Sweeping]) -> None:
    """Withdraw the open parts of sweeps that were paused, deleted or failed."""
    if sweeps:
        ended = [(one.sweep, one.people or {one.claim.owner}) for one in sweeps]
        withdraw_parts(sweeps[0].desk.ledger, ended)


def _company(part: SweepPart) -> str:
    """The company of a part, in which it is done in one turn with others; its id if it is done by itself."""
    return part.request.company or part.request.id


def _place(row: SweepRow) -> tuple[Any, ...]:
    """The place of a row in its sweep."""
    return row.values, row.triple, row.group, row.seed
