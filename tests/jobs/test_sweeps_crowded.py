"""Many sweeps at once, and one that is paused and continued: nobody waits for others, and nothing is lost."""

from __future__ import annotations

from itertools import count

import pytest

from merging.errors import TooManyJobs
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.limits import Limits
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.worker.engine import Plan
from merging.jobs.worker.local_engine import LocalEngine
from tests.jobs.test_sweep import IMAGES, real
from tests.jobs.test_sweep_runs import run


@pytest.fixture(scope="module")
def engine():
    """Two processes of this machine."""
    engine = LocalEngine(Plan("cpu", 1, 2))
    yield engine
    engine.stop()


def test_many_sweeps_of_one_address_keep_no_other_address_waiting(tmp_path, engine):
    ledger, own = Ledger(tmp_path / "class", Limits(address_sweeps=30, all_sweeps=32)), count(0)

    def one() -> SweepRequest:
        return real(axes=(("momentum", (0.5,)),), groups=1, seed=next(own), epochs=20)

    for number in range(30):
        ledger.submit(one(), f"visitor {number // 3}", address="10.0.0.66")
    with pytest.raises(TooManyJobs, match="network address has 30 open sweeps"):
        ledger.submit(one(), "the next one", address="10.0.0.66")
    assert run(ledger, engine, one(), until=lambda job: job.message.startswith("0 of 2 networks")).state == "running"
    ledger.submit(one(), "me")
    with pytest.raises(TooManyJobs, match="32 sweeps are open here"):
        ledger.submit(one(), "somebody")


def test_who_pauses_and_continues_at_once_loses_no_part(ledger, engine):
    request, again = real(axes=(("images", (IMAGES,)),), groups=1, epochs=20), []

    def ended(job):
        if not again and ledger.jobs(kind="train", states=("running",)):
            ledger.cancel(job.id, "me")
            again.append(ledger.submit(request, "me"))  # before the dispatcher's next step
        return not job.open

    job = run(ledger, engine, request, until=ended)
    assert again and job.state == "done", job.error
    assert {one.state for one in ledger.jobs(kind="train")} == {"done"}
