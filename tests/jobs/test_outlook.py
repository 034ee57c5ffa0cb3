"""Time left: what a page is told of the wait, and that a long queue costs no more than one look at each of its jobs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merging.jobs.ledger import jobs
from merging.jobs.ledger.connection import connect
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.jobs import read_jobs, time_left
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.limits import Limits
from merging.jobs.requests.registry import from_json
from merging.progress import point_words, read_point
from tests.jobs.making import SAVED, long_request, merge_request, pictures_request, take


def finished(ledger: Ledger, request, seconds: float, artifact: str = "report") -> None:
    """A job that took so long, in the ledger's history."""
    desk, job = Desk(ledger), ledger.submit(request, "ann")
    desk.finish(take(desk), {artifact: SAVED})
    with connect(ledger.file) as db:
        db.execute("UPDATE jobs SET started = finished - ? WHERE id = ?", (seconds, job.id))


def test_the_wait_is_what_stands_ahead_in_the_lane_and_oneself(ledger):
    finished(ledger, merge_request(0), 10.0)
    finished(ledger, pictures_request(0, seed=1), 3.0, "unit-0")
    queued = [merge_request(1), pictures_request(0), merge_request(2)]
    for request in queued:
        ledger.submit(request, "ann")
    etas = [ledger.job(request.id).eta for request in queued]
    assert etas == [pytest.approx(10.0), pytest.approx(3.0), pytest.approx(20.0)]


def test_the_examples_tell_of_what_was_never_made_here(ledger):
    example = from_json(json.dumps(next(job for job in ledger.examples() if job.kind == "pictures").request))
    assert 0 < sum(ledger.expected(replace(example, seed=5)).values()) < 10


def test_jobs_that_nothing_tells_of_count_as_long_as_the_one_that_waits_for_them(ledger):
    finished(ledger, merge_request(0), 10.0)
    queued = [merge_request(1), long_request(), merge_request(2)]
    for request in queued:
        ledger.submit(request, "ann")
    assert [ledger.job(request.id).eta for request in queued] == [pytest.approx(10.0), None, pytest.approx(30.0)]


def test_what_runs_is_waited_for_too(ledger):
    finished(ledger, merge_request(0), 10.0)
    waiting = merge_request(2)
    running = ledger.submit(merge_request(1), "ann")
    take(Desk(ledger))
    ledger.submit(waiting, "ann")
    assert ledger.job(running.id).eta == pytest.approx(10.0, abs=1.0)
    assert ledger.job(waiting.id).eta == pytest.approx(20.0, abs=1.0)


@given(st.floats(0.0, 1.0), st.floats(0.01, 1e4))
def test_a_job_that_takes_as_long_as_usual_is_told_so_all_along(fraction, usual):
    assert time_left(fraction, fraction * usual, usual) == pytest.approx((1 - fraction) * usual)


@given(st.floats(0.0, 1.0), st.floats(0.01, 1e4))
def test_a_forecast_that_a_job_outlasts_gives_way_to_its_own_pace(beyond, usual):
    elapsed = usual * (1 + beyond)
    assert time_left(0.25, elapsed, usual) == pytest.approx(3 * elapsed)
    assert time_left(0.0, elapsed, usual) is None
    assert time_left(0.01, elapsed, usual) is None  # hardly begun and overdue: nothing tells


def test_without_a_forecast_only_progress_tells():
    assert time_left(0.05, 100.0, None) is None
    assert time_left(0.5, 100.0, None) == 100.0
    assert time_left(0.0, 3.0, 10.0) == 7.0


def test_reading_a_queue_twice_as_long_takes_twice_the_statements(tmp_path):
    counts = []
    for length in (10, 20):
        ledger = Ledger(tmp_path / str(length), Limits(open_jobs=100))
        for seed in range(length):
            ledger.submit(merge_request(seed), "ann")
        with connect(ledger.file) as db:
            rows, said = db.execute("SELECT * FROM jobs").fetchall(), []
            db.set_trace_callback(said.append)
            assert len(read_jobs(db, rows)) == length
        counts.append(len(said))
    assert counts[1] <= 2 * counts[0]


@given(st.lists(st.sampled_from(["ask", "take", "finish", "cancel", "return"]), min_size=3, max_size=12))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_line_that_was_looked_at_before_is_told_as_one_that_was_not(tmp_path_factory, events):
    ledger = Ledger(tmp_path_factory.mktemp("home"), Limits(open_jobs=100))
    desk, held, asked = Desk(ledger), [], []
    for number, event in enumerate(events):
        if event == "ask":
            asked.append(ledger.submit(merge_request(number), f"owner {number % 3}"))
        elif event == "take" and (claim := desk.claim(("merge",))):
            held.append(claim)
        elif event == "finish" and held:
            desk.finish(held.pop(), {"report": SAVED})
        elif event == "return" and held:
            desk.give_back(held.pop(), counted=False)
        elif event == "cancel" and asked:
            job = asked.pop()
            ledger.cancel(job.id, job.owner)
        looked = [(job.id, job.position, job.eta) for job in ledger.jobs()]
        jobs._queues.clear()
        anew = [(job.id, job.position, job.eta) for job in ledger.jobs()]
        assert [row[:2] for row in looked] == [row[:2] for row in anew]
        assert [row[2] for row in looked] == [pytest.approx(row[2], abs=0.5) for row in anew]


def test_a_second_look_reads_no_request_of_others(tmp_path):
    ledger = Ledger(tmp_path, Limits(open_jobs=100))
    ids = [ledger.submit(merge_request(seed), "ann").id for seed in range(20)]
    with connect(ledger.file) as db:
        row, said = db.execute("SELECT * FROM jobs WHERE id = ?", (ids[7],)).fetchall(), []
        read_jobs(db, row)
        db.set_trace_callback(said.append)
        assert read_jobs(db, row)[0].position == 8
    assert not [statement for statement in said if "request" in statement]


@given(st.integers(1, 501), st.integers(2, 501), st.floats(0, 1e6), st.floats(0, 1), st.sampled_from(["", "naive"]))
def test_what_is_said_of_a_point_can_be_read_again(number, points, loss, accuracy, curve):
    words = point_words(min(number, points), points, loss, accuracy)
    found = read_point(f"{curve}: {words}" if curve else words)
    assert found is not None and found.curve == curve
    assert found.at == pytest.approx((min(number, points) - 1) / (points - 1))
    assert (found.loss, found.accuracy) == (pytest.approx(loss, abs=1e-4), pytest.approx(accuracy, abs=1e-4))


@pytest.mark.parametrize(
    "words", ["", "point 3 of 25", "naive: point 0 of 5, loss 1.0, accuracy 2.0 %", "x: y: point 1 of 5, loss nan"]
)
def test_other_messages_are_no_points(words):
    assert read_point(words) is None


def test_the_points_of_a_running_merge_are_kept_until_it_runs_again(ledger):
    desk, request = Desk(ledger), merge_request()
    ledger.submit(request, "ann")
    claim = take(desk)
    for number in (1, 2, 2):
        desk.tell(claim, "curve", 0.1 * number, f"naive: {point_words(number, 3, 2.0 / number, 0.5)}")
    desk.tell(claim, "curve", 0.5, "something else")
    desk.tell(claim, "similarity", 0.9, "32 of 100 images")
    assert [(one.curve, one.at, one.loss) for one in ledger.points(request.id)] == [
        ("naive", 0.0, 2.0), ("naive", 0.5, 1.0), ("naive", 0.5, 1.0),
    ]  # fmt: skip
    desk.give_back(claim, counted=False)
    assert ledger.points(request.id) == ()
