"""Engine without Ray: jobs run in processes of this machine that the command line starts and ends.

It has the methods of `engine.Engine` that a Dispatcher uses.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import Any

from merging.jobs.outcome import Outcome
from merging.jobs.tasks.machine import Place, configure_torch, whereabouts
from merging.jobs.tasks.payload import Payload
from merging.jobs.worker.engine import Plan
from merging.jobs.worker.ray_task import Key, Mail, run_job

SPAWN = multiprocessing.get_context("spawn")  # a fork of a process with torch's threads can hang


class WorkerProcess:
    """A process that runs one job at a time."""

    def __init__(self, threads: int) -> None:
        self.pipe, other = SPAWN.Pipe()
        self.process: SpawnProcess = SPAWN.Process(target=_serve, args=(other, threads), daemon=True)
        with _without_main():
            self.process.start()
        other.close()
        self.busy = False
        self.outcome: Outcome | None = None
        self.mails: list[Mail] = []

    def start(self, kind: str, payload: Payload, key: Key) -> None:
        """Send the worker a job."""
        self.busy, self.outcome = True, None
        with suppress(BrokenPipeError):  # the process died a moment ago: `listen` tells
            self.pipe.send((kind, payload, key))

    def listen(self) -> bool:
        """Receive what the worker sent; return whether its job has ended, also by the end of the process."""
        try:
            while self.outcome is None and self.pipe.poll():
                received = self.pipe.recv()
                if isinstance(received, Mail):
                    self.mails.append(received)
                else:
                    self.outcome = received
        except (EOFError, OSError):
            return True
        return self.outcome is not None

    def end(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class LocalEngine:
    """Processes on this machine, one per job that may run at the same time."""

    is_local = True

    def __init__(self, plan: Plan) -> None:
        """plan: its device is "cpu" or "cuda"."""
        self.plan = plan
        self._workers: list[WorkerProcess] = []

    def slots(self) -> int:
        """Number of jobs that run at the same time."""
        return self.plan.slots

    def start(self, kind: str, lane: str, payload: Payload, key: Key) -> WorkerProcess:
        """Start a job of this kind; return its worker, which is any free one, whatever the lane."""
        free = next((worker for worker in self._workers if not worker.busy and worker.process.is_alive()), None)
        if free is None:
            free = WorkerProcess(self.plan.threads)
            self._workers.append(free)
        free.start(kind, payload, key)
        return free

    def warm(self, lane: str) -> Place:
        """Nothing to warm up, because a worker starts with its first job; return this machine."""
        return whereabouts(self.plan.device)

    def mails(self) -> list[Mail]:
        """All progress messages since the last call."""
        mails = []
        for worker in self._workers:
            if worker.busy:
                worker.listen()
            mails += worker.mails
            worker.mails = []
        return mails

    def ready(self, reference: WorkerProcess | Place) -> bool:
        """Whether the job of a worker has ended."""
        return not isinstance(reference, WorkerProcess) or reference.listen()

    def result(self, reference: Any) -> Any:
        """Outcome of a worker's job, None if the process died."""
        if not isinstance(reference, WorkerProcess):
            return reference
        reference.busy = False
        if reference.outcome is None:
            self.kill(reference)
        return reference.outcome

    def kill(self, reference: WorkerProcess) -> None:
        """Kill a job's process."""
        reference.end()
        if reference in self._workers:
            self._workers.remove(reference)

    def use(self, device: str) -> None:
        """Nothing: the device is chosen before the start."""

    def stop(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()


@contextmanager
def _without_main() -> Iterator[None]:
    """Start processes that do not run the main program's file again, as they would for what is defined in it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _serve(pipe: Connection, threads: int) -> None:
    """Run jobs until the other end of the pipe is closed."""
    configure_torch(threads)
    send: Callable[[Any], None] = pipe.send
    with suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while True:
            kind, payload, key = pipe.recv()
            send(run_job(kind, payload, key, send))
