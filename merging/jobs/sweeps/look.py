"""A sweep as a ledger knows it: the state of its parts, what can be submitted next, and the rows so far. torch-free."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from merging.errors import MergescopeError
from merging.jobs.ledger.jobs import OPEN
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.base import ModelRef, Request
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.study import StudyRequest
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.requests.train import TrainRequest, kept_name
from merging.jobs.search import progress_of, withdraw_batch
from merging.jobs.sweeps.measures import study_numbers
from merging.jobs.sweeps.plan import SweepCell, cells_of, next_requests, studies_of, trainings
from merging.jobs.trained import trained_ref
from merging.results.reports import MergeReport
from merging.results.sweep_report import SweepRow, measures_at, measures_of
from merging.studies.registry import load_finding

WHOLE = "checkpoint.safetensors"
MOST_OPEN = 1000  # open sweeps that are looked at; the caps of a ledger let in fewer
LONGEST_HEADER = 100_000_000  # bytes, as in the safetensors library


@dataclass(frozen=True)
class SweepPart:
    """A training or merge of a sweep. state: of its job, "" if it has none.  finished: time of its end, or 0."""

    request: Request
    state: str = ""
    finished: float = 0.0


@dataclass(frozen=True)
class SweepLook:
    """One look at a sweep.

    Attributes:
        trainings: all trainings, each once, those of common starts included.
        merges: one entry per cell: its merge, None before its networks are trained.
        studies: one entry per cell: the studies of its merge; () before the merge is done.
        cells: the cells, with what each of them waits for: trainings, its merge, or the studies of its merge.
        wanted: numbers of all merges, and of all studies.
    """

    trainings: tuple[SweepPart, ...]
    merges: tuple[SweepPart | None, ...]
    studies: tuple[tuple[SweepPart, ...], ...]
    cells: tuple[tuple[SweepCell, tuple[SweepPart, ...]], ...]
    wanted: tuple[int, int]

    @property
    def done(self) -> tuple[int, int, int]:
        """Numbers of finished trainings, merges and studies."""
        merges = {part.request.id: part for part in self.merges if part is not None}
        studies = {part.request.id: part for parts in self.studies for part in parts}
        first, *rest = (
            sum(part.state == "done" for part in parts) for parts in (self.trainings, merges.values(), studies.values())
        )
        return first, rest[0], rest[1]

    @property
    def share(self) -> float:
        """Finished share of all parts, 0 to 1."""
        return sum(self.done) / (len(self.trainings) + sum(self.wanted))

    @property
    def parts(self) -> list[SweepPart]:
        """Parts that cells wait for, each once, in the order of the cells."""
        return list({part.request.id: part for _, waits in self.cells for part in waits}.values())

    def rows(self, ledger: Ledger) -> list[SweepRow]:
        """One row per cell."""
        every = zip(self.cells, self.merges, self.studies, strict=True)
        return [_row(ledger, cell, waits, merge, studies) for (cell, waits), merge, studies in every]


def look_at_sweep(ledger: Ledger, sweep: SweepRequest, visitor: str) -> SweepLook:
    """Look at all parts of a sweep. visitor: parts that this person may not see count as missing.

    Raises InvalidRequest or InvalidSetting if the sweep is impossible, as `plan.cells_of`.
    """
    states: dict[str, tuple[str, float]] = {}

    def learn(requests: Iterable[Request]) -> None:
        states.update(progress_of(ledger, [request.id for request in requests], visitor))

    def find(training: TrainRequest, epoch: int | None) -> ModelRef | None:
        state, finished = states.get(training.id, ("", 0.0))
        return _network(ledger, training.id, epoch, finished) if state == "done" else None

    def part(request: Request) -> SweepPart:
        return SweepPart(request, *states.get(request.id, ("", 0.0)))

    every = cells_of(sweep)
    learn({one.base.id: one.base for cell in every for one in cell.networks if one.base is not None}.values())
    learn(trainings(sweep, find))
    waits = [next_requests(sweep, cell, find) for cell in every]
    learn(request for requests in waits for request in requests if isinstance(request, MergeRequest))
    merges = [part(first) if isinstance(first := requests[0], MergeRequest) else None for requests in waits]
    asked = [studies_of(sweep, one.request) if one and one.state == "done" else () for one in merges]  # type: ignore[arg-type]
    learn(itertools.chain(*asked))
    studies = tuple(tuple(map(part, requests)) for requests in asked)
    known = tuple(
        (cell, found or tuple(map(part, requests))) for cell, requests, found in zip(every, waits, studies, strict=True)
    )
    count = len({cell.merge for cell in every})
    wanted = (count, count * len(sweep.studies))
    return SweepLook(tuple(map(part, trainings(sweep, find))), tuple(merges), studies, known, wanted)


def withdraw_parts(ledger: Ledger, ended: Sequence[tuple[SweepRequest, Collection[str]]]) -> None:
    """Withdraw the open parts of sweeps that are no longer open, except those that another open sweep needs.

    Parts that people asked for outside sweeps stay. The time grows with the number of open sweeps.

    Args:
        ledger: the ledger.
        ended: the sweeps, each with those who asked for it; parts that none of them may see are not found.
    """
    kept, ids = set[str](), {sweep.id for sweep, _ in ended}
    for job in ledger.jobs(kind="sweep", states=OPEN, limit=MOST_OPEN):
        with suppress(MergescopeError):  # a stored sweep that is damaged or impossible has no parts
            other = from_json(json.dumps(job.request))
            if isinstance(other, SweepRequest) and other.id not in ids:
                kept |= _open_parts(ledger, other, job.owners)
    for sweep, people in ended:
        parts = set[str]()
        with suppress(MergescopeError):
            parts = _open_parts(ledger, sweep, people)
        withdraw_batch(ledger, sweep.batch, kept, parts)


def _open_parts(ledger: Ledger, sweep: SweepRequest, visitors: Iterable[str]) -> set[str]:
    """Ids of the open parts of a sweep that any of these people may see, its trainings included."""
    looks = [look_at_sweep(ledger, sweep, visitor) for visitor in visitors]
    parts = [part for seen in looks for part in (*seen.trainings, *seen.parts)]
    return {part.request.id for part in parts if part.state in OPEN}


def _row(
    ledger: Ledger, cell: SweepCell, waits: Sequence[SweepPart], merge: SweepPart | None, studies: Sequence[SweepPart]
) -> SweepRow:
    key = (cell.values, cell.triple, cell.group, cell.seed)
    if merge is None:
        states = [part.state for part in waits]
        ended = next((state for state in ("failed", "cancelled") if state in states), "")
        return SweepRow(*key, ended or ("running" if set(states) & set(OPEN) else ""))
    measured = dict(_measured(ledger, merge.request.id, merge.finished, cell.at)) if merge.state == "done" else {}
    for study in studies:
        if study.state == "done" and isinstance(study.request, StudyRequest):
            measured |= _found(ledger, study.request.id, study.request.study, study.finished)
    return SweepRow(*key, merge.state, merge.request.id, measured)


def _network(ledger: Ledger, training: str, epoch: int | None, finished: float) -> ModelRef | None:
    """The network that a finished training stored; None if it was deleted, or removed because it was damaged."""
    found = _read_network(ledger, training, epoch, finished)
    return found if found is not None and ledger.store.has(found.sha256) else None


@lru_cache(maxsize=16_384)
def _read_network(ledger: Ledger, training: str, epoch: int | None, finished: float) -> ModelRef | None:
    name = WHOLE if epoch is None else kept_name(epoch)
    stored = ledger.artifacts(training).get(name)
    head = _header(ledger.store.path(stored[0])) if stored else b""
    try:
        return trained_ref(head, stored[0]) if stored and head else None
    except (ValueError, KeyError, MergescopeError):  # damaged: it is trained again
        return None


def _header(path: Path) -> bytes:
    """The header of a safetensors file; b"" if there is none. A worker checks the whole file when it reads it."""
    try:
        with path.open("rb") as file:
            size = file.read(8)
            length = int.from_bytes(size, "little")
            return size + file.read(length) if length < LONGEST_HEADER else b""
    except FileNotFoundError:
        return b""


@lru_cache(maxsize=4096)
def _measured(ledger: Ledger, run: str, finished: float, at: float | None) -> dict[str, float]:
    """The measures of a finished merge, or of its path at a lambda; {} if its report is damaged or was deleted."""
    try:
        report = ledger.report(run)
    except MergescopeError:
        return {}
    if not isinstance(report, MergeReport):
        return {}
    return measures_of(report) if at is None else measures_at(report, at)


@lru_cache(maxsize=4096)
def _found(ledger: Ledger, run: str, study: str, finished: float) -> dict[str, float]:
    """The numbers of a finished study; {} if its result is damaged or was deleted."""
    data = ledger.artifact(run, "finding")
    try:
        return {} if data is None else study_numbers(study, load_finding(data))
    except MergescopeError:
        return {}
