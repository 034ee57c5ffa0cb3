"""Code that runs inside Ray: the job task, the mailbox for its progress, and the task that warms up a worker.

These are plain functions and classes; `engine` imports Ray and wraps them. Workers import torch inside these functions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from merging.jobs.ledger.store import Content
from merging.jobs.outcome import Outcome, attempt
from merging.jobs.tasks.machine import Place, configure_torch, whereabouts
from merging.jobs.tasks.payload import Payload

SECONDS_BETWEEN = 0.2  # shortest time between two messages of a stage; messages in between are dropped
Key = tuple[str, int]  # job id and a number, which differs between all starts of a dispatcher


@dataclass(frozen=True)
class Mail:
    """A progress message of a running job."""

    key: Key
    stage: str
    fraction: float | None
    message: str
    place: Place


class Mailbox:
    """Ray actor that collects the messages of jobs for the dispatcher."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []

    def put(self, mail: Mail) -> None:
        """Add a message."""
        self.mails.append(mail)

    def take(self) -> list[Mail]:
        """Remove and return all messages, the oldest first."""
        taken, self.mails = self.mails, []
        return taken


def run_job(kind: str, payload: Payload, key: Key, send: Callable[[Mail], Any]) -> Outcome:
    """Run a job and send its progress through `send`, at most five times per second within a stage."""
    configure_torch(payload.threads)
    place, last, said = whereabouts(payload.device), -SECONDS_BETWEEN, ""

    def report(stage: str, fraction: float | None = None, message: str = "") -> None:
        nonlocal last, said, place
        now = time.monotonic()
        if stage == said and now - last < SECONDS_BETWEEN:
            return
        if now - last >= SECONDS_BETWEEN:
            place = whereabouts(payload.device)
        last, said = now, stage
        send(Mail(key, stage, fraction, message, place))

    def work(noted: Callable[..., None]) -> Mapping[str, Content] | Outcome:
        from merging.jobs.tasks.run import run_company, run_from_files, run_task

        if payload.company:
            return run_company(payload, noted)
        if payload.folder is not None:
            return run_from_files(payload, payload.folder, noted)
        return run_task(kind, payload, noted)

    report("loading", 0.0, "")
    return attempt(work, report)


def warm_up(device: str, threads: int) -> Place:
    """Import torch and export a tiny network, so that the first job starts faster. Returns the worker's place."""
    import torch

    from merging.network.graph.graph import export

    configure_torch(threads)
    export(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), torch.zeros(2, 2))
    return whereabouts(device)
