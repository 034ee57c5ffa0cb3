"""Asked again: an attempt that came to nothing leaves no owners, a deleted network is trained, a failure is shown."""

from __future__ import annotations

import json

from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.shipped_runs import ShippedRuns
from merging.jobs.trained import trained_entry
from tests.jobs.making import SAVED, long_request, merge_request, pictures_request, take, trained_artifacts

ERROR = {"kind": "NotEquivalent", "text": "words"}


def test_who_wanted_a_failed_attempt_does_not_keep_the_next_one_running(ledger):
    desk = Desk(ledger)
    ledger.submit(merge_request(), "ann")
    desk.fail(take(desk), ERROR)
    job = ledger.submit(merge_request(), "bob")
    assert (job.state, job.owner, job.owners) == ("queued", "bob", ("bob",))
    ledger.cancel(job.id, "bob")
    assert ledger.job(job.id).state == "cancelled"
    assert ledger.submit(merge_request(), "ann").owners == ("ann",)


def test_who_has_a_finished_result_keeps_it_when_another_runs_it_again(ledger):
    desk = Desk(ledger)
    ledger.submit(merge_request(), "ann")
    desk.finish(take(desk), {"report": SAVED})
    assert ledger.submit(merge_request(), "bob", again=True).owners == ("ann", "bob")


def test_a_deleted_network_comes_back_when_its_training_is_asked_for_again(ledger):
    desk, asked = Desk(ledger), long_request()
    made = trained_artifacts(asked)
    ledger.submit(asked, "ann")
    desk.finish(take(desk), made, trained_entry(asked, "ann", made))
    (first,) = ledger.models("ann")
    assert ledger.submit(asked, "ann").state == "done" and ledger.models("ann") == (first,)
    ledger.delete_model(first.id, "ann")
    assert ledger.submit(asked, "ann").state == "done"
    (again,) = ledger.models("ann")
    assert (again.sha256, again.source, again.id) == (first.sha256, "trained", first.id)
    ledger.store.delete(first.sha256)
    assert ledger.submit(asked, "ann").state == "queued"


def test_jobs_of_several_kinds(ledger):
    for request in (merge_request(), pictures_request(0), long_request()):
        ledger.submit(request, "ann")
    assert {job.kind for job in ledger.jobs(kind=("merge", "train"))} == {"merge", "train"}
    assert {job.kind for job in ledger.jobs(kind="pictures")} == {"pictures"}
    assert ledger.jobs(kind=()) == ()
    assert [job.kind for job in ledger.jobs(kind=["merge", "pictures"], limit=1)] == ["pictures"]


def test_an_example_that_failed_here_shows_the_failure_to_who_asks_for_it(tmp_path):
    asked = merge_request()
    folder = tmp_path / "runs" / asked.id
    folder.mkdir(parents=True)
    told = {"title": "t", "request": json.loads(asked.to_json()), "created": 1.0, "started": 1.0, "finished": 2.0}
    (folder / "job.json").write_text(json.dumps({**told, "stages": [], "artifacts": {}}))
    ledger = Ledger(tmp_path / "home", shipped=ShippedRuns(tmp_path / "runs"))
    assert ledger.local_run(asked.id) is None
    desk, job = Desk(ledger), ledger.submit(asked, "ann", again=True)
    assert ledger.local_run(job.id) == job
    desk.fail(take(desk), ERROR)
    assert ledger.job(job.id).example
    assert (ledger.local_run(job.id).state, ledger.local_run(job.id).error) == ("failed", ERROR)
