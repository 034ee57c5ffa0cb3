"""Runs one sweep to its end in processes of this machine, with the app's own dispatcher."""

from __future__ import annotations

import time
from threading import Event

from merging.errors import MergescopeError
from merging.jobs.ledger.jobs import Job
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.sweeps.look import withdraw_parts
from merging.jobs.worker.dispatcher import Dispatcher
from merging.jobs.worker.engine import Plan
from merging.jobs.worker.local_engine import LocalEngine
from merging.progress import Progress
from merging.results.sweep_report import SweepReport

LOOK = 0.05  # seconds between two rounds of the loop


def run_sweep(ledger: Ledger, request: SweepRequest, owner: str, plan: Plan, report: Progress) -> SweepReport:
    """Run a sweep; parts that the ledger holds are not done again. Raises MergescopeError if it fails or is paused."""
    stored = ledger.report(request.id)
    lacking = isinstance(stored, SweepReport) and any(row.state != "done" for row in stored.rows)
    job = ledger.submit(request, owner, again=lacking)
    engine = LocalEngine(plan)
    dispatcher = Dispatcher(ledger, engine, Event())  # type: ignore[arg-type]
    try:
        while job.open:
            dispatcher.step()
            time.sleep(LOOK)
            job = _job(ledger, request)
            report("sweeping", job.fraction, job.message)
    finally:
        dispatcher.stop.set()
        dispatcher.run()  # puts running jobs back
        engine.stop()
        if _job(ledger, request).open:  # interrupted: another sweep in this folder must not run these parts first
            ledger.cancel(request.id, owner)
            withdraw_parts(ledger, [(request, (owner,))])
    if job.state != "done":
        paused = "The sweep was paused in the browser. Run the command again to go on."
        raise MergescopeError(job.error["text"] if job.error else paused)
    result = ledger.report(job.id)
    assert isinstance(result, SweepReport)
    return result


def _job(ledger: Ledger, request: SweepRequest) -> Job:
    job = ledger.local_run(request.id)
    if job is None:
        raise MergescopeError("The sweep was deleted from the folder. Run it again.")
    return job
