"""A full store: the oldest finished runs make room, and nothing is lost for what does not fit anyway."""

from __future__ import annotations

import os

import pytest

from merging.errors import InvalidRequest
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.store import PARTIAL
from merging.jobs.limits import Limits
from merging.jobs.trained import trained_entry
from tests.jobs.making import long_request, merge_request, take, trained_artifacts
from tests.jobs.test_ledger_models import model_entry


@pytest.fixture
def small(tmp_path) -> Ledger:
    """A ledger whose store takes 1 MB."""
    return Ledger(tmp_path, Limits(store_mb=1, models=1))


def done(ledger: Ledger, seed: int, data: bytes) -> str:
    desk, job = Desk(ledger), ledger.submit(merge_request(seed), "ann")
    assert desk.finish(take(desk), {"report": data})
    return job.id


def test_what_cannot_fit_costs_nobody_a_result(small):
    old = {done(small, seed, data): data for seed in range(3) for data in [os.urandom(300_000)]}
    small.submit(merge_request(9), "ann")
    desk = Desk(small)
    with pytest.raises(InvalidRequest, match="store is full"):
        desk.finish(take(desk), {"report": os.urandom(1_100_000)})
    assert {id: small.artifact(id, "report") for id in old} == old


def test_a_training_is_done_and_kept_also_where_its_owner_has_no_room_for_another_model(small):
    request, desk = long_request(), Desk(small)
    for who in ("ann", "bob"):
        small.submit(request, who)
    claim = take(desk)
    own = small.add_model(model_entry(), b"the one model that ann may have", "ann")
    made = trained_artifacts(request)
    assert desk.finish(claim, made, trained_entry(request, "ann", made))
    assert small.job(request.id).state == "done" and small.artifact(request.id, "report") == made["report"]
    assert [entry.owner for entry in small.models()] == ["bob", "ann"]
    assert [entry.id for entry in small.models("ann")] == [own.id]
    with pytest.raises(InvalidRequest, match="the limit per person"):
        small.submit(request, "ann")
    small.delete_model(own.id, "ann")
    small.submit(request, "ann")  # now there is room, and nothing is trained again
    assert [entry.sha256 for entry in small.models("ann")] == [entry.sha256 for entry in small.models("bob")]


def test_no_more_trainings_are_taken_than_their_owner_has_room_for(small):
    first, second = long_request(), long_request(1)
    small.submit(first, "ann")
    small.submit(first, "ann")  # the same one again is no other
    with pytest.raises(InvalidRequest, match="you have 0, and trainings for 1 more are under way"):
        small.submit(second, "ann")
    small.submit(second, "bob")
    small.cancel(first.id, "ann")
    small.submit(second, "ann")


def test_an_upload_makes_room_by_the_oldest_run(small):
    first, second = (done(small, seed, os.urandom(450_000)) for seed in range(2))
    weights = os.urandom(400_000)
    entry = small.add_model(model_entry(), weights, "ann")
    assert small.checkpoint(entry.sha256) == weights
    assert small.job(first) is None
    assert small.artifact(second, "report")
    with pytest.raises(InvalidRequest, match="store is full"):
        small.add_model(model_entry(), os.urandom(700_000), "bob")  # models do not make room for models
    assert small.artifact(second, "report")


def test_a_run_that_holds_the_upload_already_goes_without_its_file(small):
    weights = os.urandom(600_000)
    done(small, 0, weights)
    entry = small.add_model(model_entry(), weights, "ann")
    done(small, 1, os.urandom(400_000))
    assert small.checkpoint(entry.sha256) == weights


def test_a_run_made_again_leaves_no_file_of_its_first_result(small):
    done(small, 0, b"first")
    desk, job = Desk(small), small.submit(merge_request(0), "ann", again=True)
    desk.finish(take(desk), {"report": b"second"})
    assert small.artifact(job.id, "report") == b"second"
    assert small.store.size() == len(b"second")


def test_runs_of_one_person_do_not_drive_out_those_of_others(tmp_path):
    ledger = Ledger(tmp_path, Limits(store_mb=2))
    desk, kept = Desk(ledger), []
    for number in range(12):
        who = "ann" if number < 3 else "eve"
        job = ledger.submit(merge_request(number), who, again=True)
        assert desk.finish(take(desk), {"report": bytes([number]) * 250_000})
        kept += [job.id] if who == "ann" else []
    assert all(ledger.job(id) is not None for id in kept)


def test_files_of_a_lost_ledger_make_room(tmp_path):
    store = Ledger(tmp_path, Limits(store_mb=1)).store
    lost, fresh = (store.put(os.urandom(400_000)) for _ in range(2))
    half = store.path(lost).with_name(f"{lost}.0123{PARTIAL}")
    half.write_bytes(b"of a writer that was killed")
    for path in (store.path(lost), half):  # the fresh one may be of somebody who is just adding it
        os.utime(path, (0, 0))
    small = Ledger(tmp_path, Limits(store_mb=1))
    data = os.urandom(500_000)
    assert small.artifact(done(small, 0, data), "report") == data
    assert (store.has(lost), store.has(fresh)) == (False, True)
    with pytest.raises(InvalidRequest, match="store is full"):
        small.add_model(model_entry(), os.urandom(700_000), "bob")
