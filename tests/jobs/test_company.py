"""Trainings that differ only in their seed are done in one pass, and nobody sees a difference but in time."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from functools import partial

import pytest

from merging.errors import InvalidRequest, TooManyJobs
from merging.jobs.ledger.connection import connect
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.jobs import read_past
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.limits import Limits
from merging.jobs.outcome import Outcome, attempt
from merging.jobs.requests.base import MOST_TOGETHER
from merging.jobs.requests.train import TrainRequest
from merging.jobs.tasks.run import run_company, run_task
from merging.jobs.worker.dispatcher import Dispatcher
from merging.jobs.worker.engine import Plan
from merging.jobs.worker.gather import gather_payload
from merging.jobs.worker.local_engine import LocalEngine
from merging.progress import no_progress
from merging.results import saving
from merging.zoo.datasets.fingerprint import fingerprint
from tests.jobs.making import DATA, mlps

WHOLE = "checkpoint.safetensors"
LONGEST = 300.0  # seconds that a test waits for its jobs
PAUSE = 0.02  # seconds between two steps of a dispatcher: the workers need the processors
PARTS = "sweep=1"  # batch of the parts of a sweep
WILD = {"optimiser": "sgd", "lr": 3.0, "momentum": 0.999}


def training(seed: int = 0, *, widths=(8, 8), epochs: int = 2, **other) -> TrainRequest:
    config = {"widths": list(widths), "in_shape": [1, 28, 28], "classes": 10}
    settings = {"share": 0.1, **other.pop("settings", {})}
    return TrainRequest("mlp", config, DATA, fingerprint(DATA, None), epochs, seed, settings=settings, **other)


@pytest.fixture
def engine():
    """One process of this machine."""
    engine = LocalEngine(Plan("cpu", 1, 1))
    yield engine
    engine.stop()


def work(ledger: Ledger, engine, until) -> None:
    """Do a dispatcher's steps until `until()`."""
    dispatcher, end = Dispatcher(ledger, engine, threading.Event()), time.monotonic() + LONGEST
    try:
        while not until():
            assert time.monotonic() < end, "a job stays open"
            dispatcher.step()
            time.sleep(PAUSE)
    finally:
        dispatcher.stop.set()
        dispatcher.run()


def submitted(ledger: Ledger, *requests: TrainRequest, owner: str = "me", batch: str = PARTS) -> list[str]:
    return [ledger.submit(request, owner, batch=batch).id for request in requests]


def test_only_small_mlps_that_differ_in_their_seed_are_a_company():
    first = training(keep=(1,))
    assert first.company and first.company == training(7, keep=(1,)).company
    others = [
        training(widths=(8, 9), keep=(1,)),
        training(),
        training(epochs=3, keep=(1,)),
        training(keep=(1,), settings={"lr": 0.5}),
        training(keep=(1,), settings={"share": 0.2}),
        training(keep=(1,), name="mine"),
    ]
    assert len({first.company, *(other.company for other in others)}) == 7
    start = replace(mlps()[0], config=training().config)
    alone = [training(start=start), training(settings={"lora": 2}), training(widths=(1000, 1000))]
    cnn = replace(training(), architecture="cnn", config={**training().config, "norm": "none"})
    assert [request.company for request in (*alone, cnn)] == [""] * 4


def test_each_gets_what_it_gets_alone_and_its_share_of_the_time(ledger, engine):
    requests = [training(seed, keep=(1,)) for seed in (3, 1, 2)]
    ids = submitted(ledger, *requests)
    at_once = list[int]()

    def ended() -> bool:
        states = [ledger.job(id) for id in ids]
        at_once.append(sum(job.state == "running" and job.stage == "training" for job in states))
        return not any(job.open for job in states)

    work(ledger, engine, ended)
    assert max(at_once) == len(ids)  # the only worker did them together
    for request in requests:
        alone = run_task("train", gather_payload(ledger, request, "cpu", 1))
        assert {name: ledger.artifact(request.id, name) for name in alone if name != "report"} == {
            name: data for name, data in alone.items() if name != "report"
        }
        mine, theirs = (
            replace(saving.load(data), seconds=0.0) for data in (ledger.artifact(request.id, "report"), alone["report"])
        )
        assert saving.save(mine) == saving.save(theirs)
    with connect(ledger.file) as db:
        spent = [sum(past.stages.values()) for past in read_past(db, ["train"])]
    job = ledger.job(ids[0])
    assert len(spent) == 3 and max(spent) < (job.finished - job.created) / 2  # forecasts take it for one job's time


def test_who_is_no_longer_wanted_leaves_and_the_others_go_on(ledger, engine):
    ids = submitted(ledger, *(training(seed, epochs=40) for seed in range(3)))
    left = []

    def ended() -> bool:
        if not left and ledger.job(ids[0]).stage == "training":
            left.append(ids[0])
            ledger.cancel(ids[0], "me")
        return not any(ledger.job(id).open for id in ids)

    work(ledger, engine, ended)
    assert [ledger.job(id).state for id in ids] == ["cancelled", "done", "done"]
    assert {ledger.job(id).attempts for id in ids[1:]} == {1}


@pytest.mark.parametrize("deleted", [False, True], ids=["cancelled", "deleted"])
def test_who_left_and_comes_back_is_done_beside_the_others(ledger, deleted):
    requests = [training(seed, epochs=50, settings={"share": 0.5}) for seed in range(4)]  # for seconds
    ids, left = submitted(ledger, *requests), []
    engine = LocalEngine(Plan("cpu", 1, 2))

    def ended() -> bool:
        if not left and ledger.job(ids[0]).stage == "training":
            left.append(ids[0])
            ledger.cancel(ids[0], "me")
            if deleted:
                ledger.delete(ids[0], "me")
            submitted(ledger, requests[0])  # the pass under its id still runs for another one
        return not any(ledger.job(id).open for id in ids)

    try:
        work(ledger, engine, ended)
    finally:
        engine.stop()
    assert left and {ledger.job(id).state for id in ids} == {"done"}


def test_after_the_death_of_their_worker_each_is_done_by_itself(ledger, engine):
    ids = submitted(ledger, *(training(seed, epochs=40) for seed in range(3)))
    killed, at_once = [], set[int]()

    def ended() -> bool:
        states = [ledger.job(id) for id in ids]
        running = [job for job in states if job.state == "running" and job.stage == "training"]
        if not killed and len(running) == 3:
            killed.append(True)
            engine._workers[0].process.kill()
        if killed:
            at_once.add(sum(job.state == "running" and job.attempts == 2 for job in states))
        return not any(job.open for job in states)

    work(ledger, engine, ended)
    assert [(ledger.job(id).state, ledger.job(id).attempts) for id in ids] == [("done", 2)] * 3
    assert at_once <= {0, 1}


def test_a_network_that_diverges_fails_alone(ledger):
    requests = [training(seed, widths=(64, 64), epochs=1, settings=WILD) for seed in range(6)]
    company = tuple(request.to_json() for request in requests)
    members = run_company(replace(gather_payload(ledger, requests[0], "cpu", 1), company=company)).members
    assert set(members) == {request.id for request in requests}
    assert {member.error is None for member in members.values()} == {True, False}
    for request in requests:
        payload = gather_payload(ledger, request, "cpu", 1)
        alone = attempt(partial(run_task, "train", payload), no_progress)
        mine = members[request.id]
        assert (mine.error, mine.artifacts.get(WHOLE)) == (alone.error, alone.artifacts.get(WHOLE))


@pytest.mark.parametrize("seed", [1, 7], ids=["another's seed", "a seed of its own"])
def test_a_damaged_request_fails_alone(ledger, engine, seed):
    ids = submitted(ledger, *(training(number) for number in range(3)))
    wrong = json.dumps({**json.loads(training(0).to_json()), "seed": seed})
    with connect(ledger.file) as db:
        db.execute("UPDATE jobs SET request = ? WHERE id = ?", (wrong, ids[0]))
    work(ledger, engine, lambda: not any(ledger.job(id).open for id in ids))
    assert [ledger.job(id).state for id in ids] == ["failed", "done", "done"]
    assert "damaged" in ledger.job(ids[0]).error["text"]


def test_a_job_that_is_missing_in_what_the_worker_returns_fails():
    whole = Outcome(members={"a": Outcome({"report": b""})})
    assert whole.of("a").error is None and "nothing for this job" in whole.of("b").error["text"]
    assert Outcome({"report": b""}).of("c").error is None


def test_a_training_whose_configuration_leaves_out_the_usual_is_done_alone(ledger, engine):
    request = replace(training(), config={"widths": [8]})
    ids = submitted(ledger, request, training(1))
    work(ledger, engine, lambda: not any(ledger.job(id).open for id in ids))
    assert request.company == "" and [ledger.job(id).state for id in ids] == ["done", "done"]


def test_what_is_taken_together(ledger):
    desk = Desk(ledger)
    ids = submitted(ledger, *(training(seed) for seed in range(12)))
    foreign = submitted(ledger, training(20), owner="you")
    single = submitted(ledger, training(30), training(31), batch="")
    others = submitted(ledger, training(40, epochs=3))

    def take(seats: int) -> list[str]:
        return [claim.id for claim in desk.claim_company(desk.claim(("train",)), MOST_TOGETHER, seats)]

    assert take(seats=3) == ids[:4]  # twelve over three workers
    claims: list[list[str]] = []
    while desk.waiting(("train",)):
        claims.append(take(seats=1))
    assert sorted(map(len, claims)) == [1, 1, 1, 1, 8]
    assert ids[4:] in claims
    assert all([id] in claims for id in (*foreign, *single, *others))


def test_the_deadline_is_that_of_all_together(ledger):
    desk = Desk(ledger)
    submitted(ledger, *(training(seed) for seed in range(3)))
    first = desk.claim(("train",))
    limit = ledger.limits.deadline("train")
    claims = desk.claim_company(first, MOST_TOGETHER, 1)
    assert {claim.together for claim in claims} == {3}
    assert all(claim.deadline - first.deadline == pytest.approx(2 * limit, abs=5) for claim in claims)


def test_parts_of_sweeps_do_not_stop_what_a_person_asks_for(tmp_path):
    ledger = Ledger(tmp_path / "small", Limits(open_jobs=3, all_jobs=5))
    submitted(ledger, *(training(seed) for seed in range(3)))
    with pytest.raises(TooManyJobs):
        submitted(ledger, training(3))
    submitted(ledger, *(training(seed) for seed in range(10, 13)), batch="")
    with pytest.raises(TooManyJobs):
        submitted(ledger, training(13), batch="")
    for person in "ab":
        submitted(ledger, training(20 + ord(person)), owner=person)
    with pytest.raises(TooManyJobs, match="for all people together"):
        submitted(ledger, training(30), owner="c")
    submitted(ledger, training(31), owner="c", batch="")


def test_parts_of_sweeps_do_not_stop_what_others_at_the_same_address_ask_for(tmp_path):
    ledger = Ledger(tmp_path / "small", Limits(address_jobs=2))
    for person in "ab":
        ledger.submit(training(ord(person)), person, address="10.1.1.1", batch=PARTS)
    with pytest.raises(TooManyJobs, match="network address"):
        ledger.submit(training(3), "c", address="10.1.1.1", batch=PARTS)
    assert ledger.submit(training(3), "c", address="10.1.1.1").open


def test_a_company_of_other_requests_is_refused(ledger):
    payload = gather_payload(ledger, training(), "cpu", 1)
    mixed = tuple(request.to_json() for request in (training(), training(1, epochs=3)))
    with pytest.raises(InvalidRequest, match="differ in their seed"):
        run_company(replace(payload, company=mixed))
