"""Search of jobs, people's own notes of them, and what is read from their reports."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from merging.errors import Cancelled, InvalidRequest
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.search import LONGEST_NAME, ORDERS, Mark, Search, cancel_batch, mark_of, search, set_mark
from merging.results import saving
from tests.figures.made import report
from tests.pages.ledgers import done, failed, merge_request, queued, running


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path)


def finished(ledger, request, share):
    """A finished merge whose accuracy is `share` of the usual report's, and whose curve is 1 / share as high."""
    desk, claim = running(ledger, request)
    found = report(json.loads(claim.request.to_json()), corrected=False)
    score, curve = found.scores["merge"]["test"], found.curves["aligned"]["test"]
    scores = {**found.scores, "merge": {"test": replace(score, accuracy=share * score.accuracy)}}
    curves = {**found.curves, "aligned": {"test": replace(curve, loss=curve.loss / share)}}
    assert desk.finish(claim, {"report": saving.save(replace(found, scores=scores, curves=curves))})
    return claim.id


def ids(ledger, **conditions):
    return [found.job.id for found in search(ledger, Search(**conditions), "me", 100)]


def test_every_word_must_occur_in_the_title_the_id_or_one_s_own_notes(ledger):
    first, second = (done(ledger, merge_request(seed=seed)) for seed in (1, 2))
    set_mark(ledger, first, "me", Mark("Baseline 50 %", "looks_odd"))
    set_mark(ledger, second, "somebody else", Mark("Baseline"))
    assert ids(ledger, text="baseline") == [first]
    assert ids(ledger, text="50 % looks_odd mlp") == [first]
    assert ids(ledger, text=second[:8]) == [second]
    assert ids(ledger, text="baseline nowhere") == []
    assert ids(ledger, text="%") == [first] and ids(ledger, text="k!_") == []  # signs of SQL are ordinary characters


def test_words_that_no_database_holds_find_nothing(ledger):
    ledger.submit(merge_request(), "ann")
    assert search(ledger, Search(text="\ud800 %_!\x00"), "ann", 9) == ()


def test_conditions_are_joined(ledger):
    matched, plain = (done(ledger, merge_request(align=align)) for align in ("weight-matching", "none"))
    broken = failed(ledger, merge_request(seed=9), "me")
    assert ids(ledger, method=("align", "none")) == [plain]
    assert set(ids(ledger, dataset="fashion-mnist")) == {matched, plain, broken}
    assert ids(ledger, dataset="mnist") == ids(ledger, kinds=("train",)) == []
    assert ids(ledger, owner="me") == [broken]
    assert ids(ledger, since=ledger.job(broken).created) == [broken]


def test_stars_and_archive_are_each_person_s_own(ledger):
    one, two = (done(ledger, merge_request(seed=seed)) for seed in (1, 2))
    set_mark(ledger, one, "me", Mark(starred=True))
    set_mark(ledger, two, "me", Mark(archived=True))
    assert ids(ledger, starred=True) == ids(ledger) == [one]
    assert ids(ledger, archived=True) == [two]
    assert {found.job.id for found in search(ledger, Search(), "another", 9)} == {one, two}
    ledger.delete(one, "somebody")
    assert mark_of(ledger, one, "me") == Mark()
    with pytest.raises(InvalidRequest, match="was deleted"):
        set_mark(ledger, one, "me", Mark(starred=True))


def test_runs_are_sorted_by_what_their_reports_say(ledger):
    runs = {share: finished(ledger, merge_request(seed=number), share) for number, share in enumerate((0.5, 1, 0.8))}
    empty = done(ledger, merge_request(seed=7), images=False)
    found = {one.job.id: one for one in search(ledger, Search(), "me", 9)}
    for run in runs.values():
        known = ledger.report(run)
        assert found[run].accuracy == pytest.approx(known.scores["merge"]["test"].accuracy)
        assert found[run].barrier == pytest.approx(known.curves["aligned"]["test"].barrier("loss").height)
    assert found[empty].accuracy is found[empty].barrier is None
    assert ids(ledger, order="accuracy") == ids(ledger, order="barrier") == [runs[1], runs[0.8], runs[0.5], empty]


def test_open_jobs_come_first_in_every_order(ledger):
    done(ledger, merge_request(seed=1))
    waiting = queued(ledger, merge_request(seed=2))
    assert all(ids(ledger, order=order)[0] == waiting for order in ORDERS)


def test_a_run_that_is_run_again_is_measured_again(ledger):
    first = finished(ledger, merge_request(), 1.0)
    (before,) = search(ledger, Search(), "me", 9)
    assert finished(ledger, merge_request(), 0.5) == first  # the usual helper submits with again=True
    (after,) = search(ledger, Search(), "me", 9)
    assert after.accuracy == pytest.approx(before.accuracy / 2)


def test_a_damaged_report_or_request_breaks_no_list(ledger):
    good, bad = (done(ledger, merge_request(seed=seed)) for seed in (1, 2))
    sha256 = ledger.artifacts(bad)["report"][0]
    next(path for path in ledger.store.folder.rglob(sha256)).write_bytes(b"nothing")
    found = {one.job.id: one.accuracy for one in search(ledger, Search(), "me", 9)}
    assert found[bad] is None and found[good] is not None
    with closing(sqlite3.connect(ledger.file)) as db, db:
        db.execute("UPDATE jobs SET request = '{' WHERE id = ?", (bad,))
    assert ids(ledger, dataset="fashion-mnist") == [good]


def test_a_ledger_from_before_gains_the_tables(tmp_path):
    run = done(Ledger(tmp_path))
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db, db:
        db.execute("DROP TABLE marks")
        for table, column in (("jobs", "measured"), ("jobs", "accuracy"), ("jobs", "barrier"), ("owners", "batch")):
            db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    (found,) = search(Ledger(tmp_path), Search(), "me", 9)
    assert found.job.id == run and found.accuracy is not None
    assert not list(tmp_path.glob("*.damaged*"))


def test_a_name_is_bounded_and_nonsense_is_refused():
    with pytest.raises(InvalidRequest, match=f"limit is {LONGEST_NAME}"):
        Mark("n" * (LONGEST_NAME + 1))
    with pytest.raises(InvalidRequest, match="cannot be sorted"):
        Search(order="nonsense")


def test_a_batch_is_cancelled_by_those_who_know_it_whoever_asked(ledger):
    requests = [merge_request(seed=seed) for seed in range(3)]
    for person, request in zip(("me", "me", "you"), requests, strict=True):
        ledger.submit(request, person, batch="nets=a,b&live=0123")
    other = queued(ledger, merge_request(seed=9))
    cancel_batch(ledger, "nets=a,b&live=9999")
    cancel_batch(ledger, "")
    assert {job.state for job in ledger.jobs()} == {"queued"}
    cancel_batch(ledger, "nets=a,b&live=0123")
    assert [job.id for job in ledger.jobs(states=["queued"])] == [other]


def test_nothing_is_added_to_a_batch_that_was_stopped(ledger):
    ledger.submit(merge_request(seed=0), "me", batch="live=0123")
    cancel_batch(ledger, "live=0123")
    with pytest.raises(Cancelled):
        ledger.submit(merge_request(seed=1), "me", batch="live=0123")
    assert {job.state for job in ledger.jobs()} == {"cancelled"}
    assert ledger.submit(merge_request(seed=1), "me", batch="live=4567").state == "queued"
