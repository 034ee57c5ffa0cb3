"""The life of a job: one run a question, cancelled and deleted by whoever asked, found by a prefix."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import ExitStack

import pytest

from merging.errors import InvalidRequest
from merging.jobs.ledger.connection import SPARE, connect, snapshot
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.download import DownloadRequest
from merging.results import reports
from merging.zoo.datasets.load import IMAGES
from tests.jobs.making import ALL, SAVED, merge_request, take

SHIPPED_IMAGES = IMAGES / "fashion-mnist"


def test_a_job_from_question_to_answer(ledger):
    desk, asked = Desk(ledger), merge_request()
    job = ledger.submit(asked, "ann")
    assert (job.state, job.position, job.owners, job.id) == ("queued", 1, ("ann",), asked.id)
    claim = take(desk)
    desk.tell(claim, "loading", 0.0, "reading")
    desk.tell(claim, "matching", 0.4, "sweep 1")
    desk.tell(claim, "matching", 0.3, "sweep 2")
    job = ledger.job(job.id[:6])
    assert (job.state, job.stage, job.fraction, job.message) == ("running", "matching", 0.4, "sweep 2")
    assert [(stage, message) for stage, message, _ in job.stages] == [("loading", "reading"), ("matching", "sweep 2")]
    assert job.eta is not None
    assert job.position == 0
    assert desk.finish(claim, {"report": SAVED})
    job = ledger.job(job.id)
    assert (job.state, job.fraction, job.eta) == ("done", 1.0, None)
    assert ledger.report(job.id) == reports.Metrics(0.0, 0.0, 0.0)
    assert ledger.submit(asked, "ann").state == "done"
    assert desk.claim(ALL) is None


def test_a_job_is_found_by_eight_digits_that_tell_which(ledger):
    job = ledger.submit(merge_request(), "ann")
    assert ledger.job(job.id[:6]).id == job.id
    assert ledger.job(f" {job.id.upper()} ").id == job.id
    for wrong in (job.id[:5], "", "zzzzzzzz", "%%%%%%%%", "0" * 64, job.id + "0"):
        assert ledger.job(wrong) is None


def test_one_question_of_two_people_is_one_job_of_both(ledger):
    desk = Desk(ledger)
    first, second = ledger.submit(merge_request(), "ann"), ledger.submit(merge_request(), "bob")
    assert first.id == second.id
    assert second.owners == ("ann", "bob")
    claim = take(desk)
    assert desk.claim(ALL) is None
    desk.finish(claim, {"report": SAVED})
    assert [job.id for job in ledger.jobs(owner="bob", states=("done",))] == [first.id]


def test_what_failed_or_was_cancelled_runs_again_when_asked_again(ledger):
    desk = Desk(ledger)
    ledger.submit(merge_request(), "ann")
    desk.fail(take(desk), {"kind": "NotEquivalent", "text": "words"})
    job = ledger.jobs(owner="ann")[0]
    assert (job.state, job.error) == ("failed", {"kind": "NotEquivalent", "text": "words"})
    job = ledger.submit(merge_request(), "ann")
    assert (job.state, job.error, job.stages, job.attempts) == ("queued", None, (), 0)
    ledger.cancel(job.id, "ann")
    assert ledger.job(job.id).state == "cancelled"
    assert ledger.submit(merge_request(), "ann").state == "queued"
    assert take(desk).attempts == 1


def test_a_result_whose_file_is_gone_is_made_again(ledger):
    desk, asked = Desk(ledger), merge_request()
    ledger.submit(asked, "ann")
    desk.finish(take(desk), {"report": SAVED})
    ledger.store.delete(ledger.artifacts(asked.id)["report"][0])
    assert ledger.submit(asked, "ann").state == "queued"


def test_a_finished_run_can_be_asked_for_again(ledger):
    desk, asked = Desk(ledger), merge_request()
    ledger.submit(asked, "ann")
    desk.finish(take(desk), {"report": SAVED})
    assert ledger.submit(asked, "ann", again=True).state == "queued"
    assert ledger.report(asked.id) is not None  # the old result stays until the new one is there


def test_what_another_version_of_the_program_queued_fails_in_words(ledger):
    job = ledger.submit(merge_request(), "ann")
    with connect(ledger.file) as db:
        db.execute("UPDATE jobs SET request = replace(request, '\"points\"', '\"dots\"')")
    later = ledger.submit(merge_request(1), "ann")
    desk = Desk(ledger)
    assert desk.claim(ALL) is None
    assert ledger.job(job.id).error["kind"] == "InvalidRequest"
    assert take(desk).id == later.id


def test_a_download_is_done_only_while_the_images_are_there(ledger, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MERGESCOPE_DATA", raising=False)
    asked, desk = DownloadRequest("fashion-mnist"), Desk(ledger)
    ledger.submit(asked, "ann")
    desk.finish(take(desk), {})
    assert ledger.submit(asked, "ann").state == "queued"
    desk.finish(take(desk), {})
    folder = tmp_path / "cache" / "mergescope" / "data" / "FashionMNIST" / "raw"
    shutil.copytree(SHIPPED_IMAGES, folder)
    assert ledger.submit(asked, "ann").state == "done"


def test_cancelling_a_running_job_takes_it_from_its_dispatcher(ledger):
    desk, job = Desk(ledger), ledger.submit(merge_request(), "ann")
    claim = take(desk)
    assert desk.held() == {job.id: claim.run}
    ledger.cancel(job.id, "ann")
    assert desk.held() == {}
    assert not desk.finish(claim, {"report": SAVED})  # too late: nothing changes
    desk.tell(claim, "curve", 0.9, "")
    desk.fail(claim, {"kind": "x", "text": "y"})
    assert ledger.job(job.id).state == "cancelled"
    assert ledger.artifacts(job.id) == {}


def test_cancelling_what_another_wants_too_leaves_it_to_them(ledger):
    desk, job = Desk(ledger), ledger.submit(merge_request(), "ann")
    ledger.submit(merge_request(), "bob")
    ledger.cancel(job.id, "ann")
    job = ledger.job(job.id)
    assert (job.state, job.owner, job.owners) == ("queued", "bob", ("bob",))
    assert take(desk).owner == "bob"


def test_deleting_keeps_what_others_asked_for_and_files_that_others_refer_to(ledger):
    desk, shared = Desk(ledger), os.urandom(100)
    jobs = []
    for seed in range(2):
        jobs.append(ledger.submit(merge_request(seed), "ann"))
        desk.finish(take(desk), {"report": shared, "own": bytes([seed])})
    ledger.submit(merge_request(1), "bob")
    ledger.delete(jobs[0].id, "ann")
    assert ledger.job(jobs[0].id) is None
    assert ledger.artifact(jobs[1].id, "report") == shared
    ledger.delete(jobs[1].id, "ann")
    assert ledger.artifact(jobs[1].id, "report") == shared
    assert ledger.jobs(owner="ann") == ()
    ledger.delete(jobs[1].id, "bob")
    assert ledger.store.size() == 0


def test_nobody_cancels_or_deletes_another_s_job(ledger):
    job = ledger.submit(merge_request(), "ann")
    for act in (ledger.cancel, ledger.delete):
        with pytest.raises(InvalidRequest, match="no job"):
            act(job.id, "bob")
    assert ledger.job(job.id).state == "queued"


def test_the_web_process_needs_neither_torch_nor_ray(ledger):
    import subprocess
    import sys

    program = (
        "import sys, merging.jobs.ledger.ledger, merging.jobs.requests.registry, merging.jobs.ledger.store;"
        "import merging.zoo.datasets.fingerprint;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'ray', 'lucent', 'streamlit')))"
    )
    assert subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": "."}).returncode == 0


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_a_clock_that_is_set_changes_no_duration_and_no_turn(ledger, monkeypatch, jump):
    desk = Desk(ledger)
    first, second = (merge_request(seed=seed) for seed in (1, 2))
    ledger.submit(first, "ann")
    claim = take(desk)
    desk.tell(claim, "loading", 0.1, "")
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + jump)
    ledger.submit(second, "ann")
    third = ledger.submit(merge_request(seed=3), "ann")
    desk.tell(claim, "matching", 0.2, "")
    assert all(0 <= seconds < 60 for _, _, seconds in ledger.job(first.id).stages[:-1])
    desk.finish(claim, {"report": SAVED})
    done = ledger.job(first.id)
    assert 0 <= done.finished - done.started < 60
    assert all(0 <= seconds < 60 for _, _, seconds in done.stages)
    assert take(desk).id == second.id  # who asked first, though the clock may say otherwise
    ledger.cancel(second.id, "ann")
    stopped = ledger.job(second.id)
    assert stopped.finished >= stopped.started
    assert take(desk).id == third.id


def test_a_ledger_of_an_earlier_version_is_used_on(tmp_path):
    kept = Ledger(tmp_path).submit(merge_request(), "ann")
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("ALTER TABLE jobs DROP COLUMN interrupted")
    ledger = Ledger(tmp_path)
    assert ledger.job(kept.id).state == "queued"
    assert take(Desk(ledger)).id == kept.id
    Desk(ledger).reap(lambda pid, born: False)
    assert ledger.job(kept.id).state == "queued"


def test_a_connection_is_used_again_and_never_for_a_file_that_took_its_place(tmp_path):
    first, second = (Ledger(tmp_path / name) for name in "ab")
    with connect(first.file) as db:
        used = db
    with connect(first.file) as db:
        assert db is used
        with connect(first.file) as other:
            assert other is not used
    second.file.replace(first.file)
    with connect(first.file) as db:
        assert db is not used


def test_a_connection_whose_call_failed_is_not_used_again(tmp_path):
    ledger = Ledger(tmp_path)
    with pytest.raises(ZeroDivisionError), connect(ledger.file) as db, snapshot(db):
        raise ZeroDivisionError
    with pytest.raises(sqlite3.ProgrammingError):
        db.execute("SELECT 1")


def test_no_more_connections_stay_open_than_are_worth_it(tmp_path):
    ledger = Ledger(tmp_path)
    with ExitStack() as open_now:
        held = [open_now.enter_context(connect(ledger.file)) for _ in range(SPARE + 3)]
    closed = 0
    for db in held:
        try:
            db.execute("SELECT 1")
        except sqlite3.ProgrammingError:
            closed += 1
    assert closed >= 3
