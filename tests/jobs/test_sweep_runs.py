"""Whole sweeps in processes of this machine: filled in, extended, paused, interrupted, shared, failed."""

from __future__ import annotations

import json
import threading
import time

import pytest

from merging.errors import TooManyJobs
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.limits import Limits
from merging.jobs.requests.base import LONG, SHORT
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.study import StudyRequest
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.requests.train import kept_name
from merging.jobs.sweeps import plan
from merging.jobs.sweeps.cost import cost
from merging.jobs.sweeps.look import look_at_sweep, withdraw_parts
from merging.jobs.sweeps.measures import study_numbers
from merging.jobs.tasks.run import run_task
from merging.jobs.trained import trained_entry
from merging.jobs.worker.dispatcher import Dispatcher
from merging.jobs.worker.engine import Plan
from merging.jobs.worker.gather import gather_payload
from merging.jobs.worker.local_engine import LocalEngine
from merging.results import saving
from merging.results.sweep_report import SweepReport
from merging.studies.registry import load_finding
from merging.text.sweep_words import sweep_csv
from tests.jobs.making import merge_request, take, trained_artifacts
from tests.jobs.test_sweep import IMAGES, real

PAUSE = 0.02  # seconds between two steps of a dispatcher: the workers need the processors


@pytest.fixture(scope="module")
def engine():
    """Two processes of this machine."""
    engine = LocalEngine(Plan("cpu", 1, 2))
    yield engine
    engine.stop()


def run(ledger: Ledger, engine, request: SweepRequest, *, until=lambda job: not job.open, owner: str = "me"):
    """Submit a sweep, and do the dispatcher's steps until `until(job)`; gives the job."""
    job = ledger.submit(request, owner)
    dispatcher = Dispatcher(ledger, engine, threading.Event())
    try:
        while not until(job):
            dispatcher.step()
            time.sleep(PAUSE)
            job = ledger.local_run(request.id)
    finally:
        dispatcher.stop.set()
        dispatcher.run()
    return job


def test_a_sweep_fills_in_is_extended_and_every_run_is_the_one_asked_for_by_itself(ledger, engine):
    request = real()
    before = cost(ledger, request, look_at_sweep(ledger, request, "me"))
    job = run(ledger, engine, request)
    assert job.state == "done", job.error
    report = ledger.report(job.id)
    assert isinstance(report, SweepReport) and [row.state for row in report.rows] == ["done"] * 4
    submitted = [one for one in ledger.jobs() if one.kind != "sweep"]
    assert (before.trainings, before.merges) == (8, 4) and len(submitted) == 12
    assert not ledger.models()  # networks of sweeps fill nobody's list

    merge = from_json(_text(ledger, report.rows[0].run))
    assert isinstance(merge, MergeRequest)
    alone = saving.load(run_task("merge", gather_payload(ledger, merge, "cpu", 1))["report"])
    assert alone.scores["merge"]["test"].accuracy == report.rows[0].measures["accuracy"]
    assert alone.curves["aligned"]["test"].barrier().height == report.rows[0].measures["barrier_mean"]

    more = real(groups=3)
    left = cost(ledger, more, look_at_sweep(ledger, more, "me"))
    assert (left.trainings, left.merges) == (4, 2) and left.seconds > 0 and left.unknown == 0
    times = {one.id: one.finished for one in submitted}
    assert run(ledger, engine, more).state == "done"
    assert {id: time for id, time in times.items() if ledger.job(id).finished != time} == {}
    assert sweep_csv(more, ledger.report(more.id).rows).count("\n") == 7


def test_the_numbers_of_studies_are_those_of_the_studies_asked_for_by_themselves(ledger, engine):
    request = real(groups=1, studies=("why", "layer"))
    assert cost(ledger, request, look_at_sweep(ledger, request, "me")).studies == 4
    assert run(ledger, engine, request).state == "done"
    first = ledger.report(request.id).rows[0]
    merge = from_json(_text(ledger, first.run))
    for key in request.studies:
        payload = gather_payload(ledger, StudyRequest(merge, key, seed=merge.seed), "cpu", 1)
        numbers = study_numbers(key, load_finding(run_task("study", payload)["finding"]))
        assert numbers and numbers.items() <= first.measures.items()
    assert {"why.variance", "naive_why.variance", "layer.change"} <= set(first.measures)
    assert "why.variance,naive_why.variance" in sweep_csv(request, ledger.report(request.id).rows)
    assert {job.state for job in ledger.jobs(kind="study")} == {"done"}


def test_a_study_of_a_sweep_waits_with_long_jobs_until_somebody_opens_it(ledger):
    study, desk = StudyRequest(merge_request(), "why"), Desk(ledger)
    ledger.submit(study, "me", batch="sweep=1", lane=LONG)
    assert study.lane == SHORT and not desk.waiting(("study",), (SHORT,))
    ledger.submit(study, "you")
    claim = desk.claim(("study",), (SHORT,))
    assert claim is not None and claim.lane == SHORT


def test_lambdas_are_read_from_the_curve_of_one_merge(ledger, engine):
    request = real(axes=(("lambda", (0.0, 0.5, 1.0)),), groups=1)
    before = cost(ledger, request, look_at_sweep(ledger, request, "me"))
    assert (before.trainings, before.merges) == (2, 1)
    assert run(ledger, engine, request).state == "done"
    rows = ledger.report(request.id).rows
    (merge,) = ledger.jobs(kind="merge")
    assert {row.run for row in rows} == {merge.id}
    curves = ledger.report(merge.id).curves
    for name, curve in (("loss", curves["aligned"]["test"]), ("naive_loss", curves["naive"]["test"])):
        assert [row.measures[name] for row in rows] == curve.loss.tolist()
    assert rows[0].measures["loss"] == rows[0].measures["naive_loss"]  # both paths begin at A
    assert look_at_sweep(ledger, request, "me").done == (2, 1, 0)


def test_a_paused_sweep_withdraws_its_parts_and_goes_on_where_it_was(ledger, engine):
    request = real(axes=(("lr", (0.001, 0.01)),), groups=1)

    def paused(job):
        if job.open and any(part.state == "done" for part in look_at_sweep(ledger, request, "me").trainings):
            ledger.cancel(job.id, "me")
        return job.state == "cancelled" and not ledger.jobs(states=("queued", "running"))

    assert run(ledger, engine, request, until=paused).state == "cancelled"
    done = {one.id for one in ledger.jobs(states=("done",))}
    assert run(ledger, engine, request).state == "done"
    assert done <= {one.id for one in ledger.jobs(states=("done",))}


def test_a_part_of_two_sweeps_ends_when_both_are_paused(ledger, engine):
    sweeps = [real(axes=(("images", (IMAGES,)),), groups=groups, epochs=40) for groups in (1, 2)]
    for sweep in sweeps:
        ledger.submit(sweep, "me")
    paused = list[str]()

    def ended(job):
        open_parts = ledger.jobs(kind="train", states=("queued", "running"))
        if len(paused) < 2 and any(part.state == "running" for part in open_parts):
            paused.append(sweeps[len(paused)].id)
            ledger.cancel(paused[-1], "me")
        return len(paused) == 2 and not open_parts

    run(ledger, engine, sweeps[0], until=ended)
    assert {one.state for one in ledger.jobs()} == {"cancelled"}


@pytest.mark.parametrize("other", ["me", "somebody else"])
def test_parts_end_with_the_last_sweep_that_needs_them_also_before_a_dispatcher_comes(ledger, other):
    first, second = (real(axes=(("images", (IMAGES,)),), groups=groups) for groups in (1, 2))
    ledger.submit(first, "me")
    ledger.submit(second, other)
    for training in plan.trainings(first, lambda *_: None):  # as a dispatcher that ended has left them
        ledger.submit(training, "me", batch=first.batch)
    by_hand = ledger.submit([*plan.trainings(second, lambda *_: None)][-1], "me")

    def trainings():
        return [job.state for job in ledger.jobs(kind="train") if job.id != by_hand.id]

    ledger.cancel(first.id, "me")
    withdraw_parts(ledger, [(first, ["me"])])
    assert trainings() == ["queued", "queued"]
    ledger.cancel(second.id, other)
    withdraw_parts(ledger, [(second, [other])])
    assert trainings() == ["cancelled", "cancelled"]
    assert ledger.job(by_hand.id).state == "queued"


@pytest.mark.parametrize("how", ["one training", "pauses"])
def test_who_withdraws_takes_nothing_from_the_sweep_of_somebody_else(ledger, engine, how):
    first, second = (real(axes=(("images", (IMAGES,)),), groups=groups, epochs=20) for groups in (1, 2))
    ledger.submit(first, "ann")
    ledger.submit(second, "bob")
    left = []

    def ended(job):
        running = [one for one in ledger.jobs(kind="train", states=("running",)) if set(one.owners) == {"ann", "bob"}]
        if running and not left:
            left.append(running[0].id if how == "one training" else first.id)
            ledger.cancel(left[0], "ann")
        return not job.open

    job = run(ledger, engine, second, until=ended, owner="bob")
    assert left and job.state == "done"
    assert [row.state for row in ledger.report(second.id).rows] == ["done", "done"]


def test_a_person_with_one_job_has_a_sweep_and_three_at_most(tmp_path, engine):
    ledger = Ledger(tmp_path / "small", Limits(open_jobs=1))
    assert run(ledger, engine, real(axes=(("momentum", (0.5,)),), groups=1)).state == "done"
    for share in (0.1, 0.2, 0.3):
        ledger.submit(real(settings={"share": share}), "me")
    with pytest.raises(TooManyJobs, match="3 open sweeps"):
        ledger.submit(real(settings={"share": 0.4}), "me")


def test_a_network_that_was_removed_because_it_was_damaged_is_trained_again(ledger):
    request, desk = real(axes=(("images", (IMAGES,)),), groups=1), Desk(ledger)
    for training in plan.trainings(request, lambda *_: None):
        ledger.submit(training, "me")
        claim = take(desk)
        files = trained_artifacts(training)
        assert desk.finish(claim, files, trained_entry(training, "me", files))
    assert [type(part.request) for part in look_at_sweep(ledger, request, "me").parts] == [MergeRequest]
    sha256, _ = ledger.artifacts(claim.id)["checkpoint.safetensors"]
    ledger.store.delete(sha256)
    (part,) = look_at_sweep(ledger, request, "me").parts
    assert part.request == training and part.state == "done"


def test_a_merge_that_is_deleted_meanwhile_is_done_again(ledger, engine):
    request, deleted = real(axes=(("label_noise", (0.0, 0.5)),), groups=1), list[str]()

    def ended(job):
        for one in ledger.jobs(kind="merge", states=("done",)) if not deleted else ():
            ledger.delete(one.id, "me")
            deleted.append(one.id)
        return not job.open

    job = run(ledger, engine, request, until=ended)
    rows = ledger.report(job.id).rows
    assert deleted and [row.state for row in rows] == ["done", "done"] and all(row.measures for row in rows)


def test_a_dispatcher_that_ends_leaves_the_sweep_to_the_next_one(ledger, engine):
    request = real(axes=(("weight_decay", (0.0, 0.1)),), groups=1)
    assert run(ledger, engine, request, until=lambda job: job.fraction > 0).open
    assert run(ledger, engine, request).state == "done"


def test_checkpoints_along_a_training_and_a_common_start(ledger, engine):
    request = real(axes=(("epoch", (0, 1, 2)), ("common", (0, 1))), groups=1)
    job = run(ledger, engine, request)
    assert job.state == "done", job.error
    rows = {row.values: row.measures for row in ledger.report(job.id).rows}
    assert rows[0, 1]["distance"] == 0  # before they part, both are their common start
    assert rows[0, 0]["distance"] > 0 and len(rows) == 6
    long = next(part.request for part in look_at_sweep(ledger, request, "me").trainings if part.request.keep)
    payload = gather_payload(ledger, long, "cpu", 1)
    made = run_task("train", payload)
    stored = ledger.artifacts(long.id)
    assert {name: len(data) for name, data in made.items() if name == kept_name(1)} == {
        kept_name(1): stored[kept_name(1)][1]
    }


def test_a_sweep_whose_parts_fail_says_why_and_the_rest_is_kept(ledger, engine):
    settings = {"share": 0.1, "optimiser": "sgd", "momentum": 0.999}
    request = real(axes=(("lr", (0.001, 10.0)),), groups=1, settings=settings)
    job = run(ledger, engine, request)
    states = {row.values[0]: row.state for row in ledger.report(job.id).rows}
    assert job.state == "done" and states == {0.001: "done", 10.0: "failed"}


def test_a_sweep_counts_for_people_who_share_it(ledger, engine):
    request = real(axes=(("batch", (64, 128)),), groups=1)
    ledger.submit(request, "you")
    job = run(ledger, engine, request)
    assert job.state == "done" and set(job.owners) == {"me", "you"}
    parts = [one for one in ledger.jobs() if one.kind == "merge"]
    assert all(set(one.owners) == {"me", "you"} for one in parts)


def _text(ledger: Ledger, run: str) -> str:
    return json.dumps(ledger.job(run).request)
