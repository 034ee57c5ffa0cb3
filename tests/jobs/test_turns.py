"""Fair turns, and caps that hold whoever asks."""

from __future__ import annotations

import collections
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merging.errors import InvalidRequest, InvalidSetting
from merging.jobs.__main__ import main
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.limits import Limits, from_environment
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.pictures import PicturesRequest
from merging.jobs.turns import fair_order
from tests.jobs.making import ALL, SAVED, merge_request, mlps, pictures_request, take


def test_the_next_turn_is_theirs_who_have_least(ledger):
    desk = Desk(ledger)
    for seed in range(3):
        ledger.submit(merge_request(seed), "ann")
    for seed in range(3, 5):
        ledger.submit(merge_request(seed), "bob")
    positions = {job.request["seed"]: job.position for job in ledger.jobs()}
    turns = [take(desk) for _ in range(5)]
    assert [turn.owner for turn in turns] == ["ann", "bob", "ann", "bob", "ann"]
    assert [positions[turn.request.seed] for turn in turns] == [1, 2, 3, 4, 5]


def test_who_was_served_longest_ago_comes_first(ledger):
    desk = Desk(ledger)
    for seed, owner in enumerate(("ann", "bob")):
        ledger.submit(merge_request(seed), owner)
        desk.finish(take(desk), {"report": SAVED})
    ledger.submit(merge_request(2), "bob")
    ledger.submit(merge_request(3), "ann")
    assert take(desk).owner == "ann"


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=3))
def test_the_fair_order_holds_every_job_once_and_nobody_waits_behind_a_crowd(owners, running):
    queued = [(str(number), owner, owner, float(number)) for number, owner in enumerate(owners)]
    order = fair_order(queued, [(owner, owner) for owner in running], {})
    assert sorted(order) == sorted(id for id, *_ in queued)
    by_owner = collections.defaultdict(list)
    for id in order:
        by_owner[owners[int(id)]].append(int(id))
    assert all(ids == sorted(ids) for ids in by_owner.values())  # one's own jobs keep their order
    turns = [owners[int(id)] for id in order]
    present = len(set(owners))
    for owner in set(owners):
        assert turns.index(owner) < present + len(running)  # the first of everybody before anybody's crowd


def test_many_made_up_owners_of_one_address_have_the_turns_of_one(ledger):
    desk = Desk(ledger)
    for seed in range(6):
        ledger.submit(merge_request(seed), f"made up {seed}", address="192.0.2.7")
    for seed in (6, 7):
        ledger.submit(merge_request(seed), "ann", address="192.0.2.8")
    ledger.submit(merge_request(8), "bob")  # on this machine
    turns = [take(desk) for _ in range(9)]
    assert [turn.owner for turn in turns[:5]] == ["made up 0", "ann", "bob", "made up 1", "ann"]
    assert [turn.owner for turn in turns[5:]] == [f"made up {seed}" for seed in range(2, 6)]


@settings(max_examples=8)
@given(owners=st.lists(st.sampled_from(("a", "b", "c", "d@1", "e@1", "f@2")), min_size=1, max_size=7))
def test_the_first_of_the_fair_order_is_what_is_taken(owners, tmp_path_factory):
    ledger = Ledger(tmp_path_factory.mktemp("fair"))
    desk = Desk(ledger)
    for seed, owner in enumerate(owners):
        name, _, address = owner.partition("@")
        ledger.submit(merge_request(seed), name, address=address)
    for _ in owners:
        first = min((job for job in ledger.jobs(states=("queued",))), key=lambda job: job.position)
        claim = take(desk)
        assert claim.id == first.id
        assert desk.finish(claim, {})


def test_an_owner_has_so_many_open_jobs_and_others_are_not_held_up(tmp_path):
    ledger = Ledger(tmp_path, Limits(open_jobs=2))
    first = ledger.submit(merge_request(0), "ann")
    ledger.submit(merge_request(1), "ann")
    with pytest.raises(InvalidRequest, match="2 open jobs"):
        ledger.submit(merge_request(2), "ann")
    assert ledger.submit(merge_request(0), "ann").id == first.id  # one's own open job is no new one
    assert ledger.submit(merge_request(2), "bob").state == "queued"
    with pytest.raises(InvalidRequest, match="2 open jobs"):
        ledger.submit(merge_request(2), "ann")
    ledger.cancel(first.id, "ann")
    assert ledger.submit(merge_request(2), "ann").owners == ("bob", "ann")


def test_weights_that_nobody_has_cannot_be_asked_about(ledger):
    a, _ = mlps()
    unknown = ModelRef("0" * 64, a.name, a.architecture, a.config)
    with pytest.raises(InvalidRequest, match="not on this machine"):
        ledger.submit(PicturesRequest(unknown, "layers.0", (0,)), "ann")


def test_the_environment_sets_the_limits(monkeypatch):
    monkeypatch.setenv("MERGESCOPE_OPEN_JOBS", "3")
    assert from_environment().open_jobs == 3
    monkeypatch.setenv("MERGESCOPE_OPEN_JOBS", "none")
    with pytest.raises(Exception, match="MERGESCOPE_OPEN_JOBS is 'none'"):
        from_environment()
    monkeypatch.delenv("MERGESCOPE_OPEN_JOBS")
    monkeypatch.setenv("MERGESCOPE_TRAIN_SECONDS", "60")
    assert (from_environment().deadline("train"), from_environment().deadline("merge")) == (60, 1_800)
    for text in ("inf", "nan", "1e400", "-1", "0"):
        monkeypatch.setenv("MERGESCOPE_STORE_MB", text)
        with pytest.raises(InvalidSetting, match=r"MERGESCOPE_STORE_MB is .* Set a number from 1"):
            from_environment()


@pytest.mark.parametrize("name", ["MERGESCOPE_JOBS", "MERGESCOPE_THREADS"])
@pytest.mark.parametrize("text", ["-1", "100000", "two", "1.5"])
def test_numbers_that_no_machine_has_are_refused_at_the_start(name, text, monkeypatch, capsys):
    monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert f"'{text}' is not a whole number from 0 to 256" in capsys.readouterr().err


def test_the_oldest_runs_make_room_for_new_ones(tmp_path):
    ledger = Ledger(tmp_path, Limits(store_mb=1))
    desk = Desk(ledger)
    for seed in range(4):
        ledger.submit(merge_request(seed), "ann")
        desk.finish(take(desk), {"report": os.urandom(300_000)})
    assert [job.request["seed"] for job in ledger.jobs(states=("done",))] == [3, 2, 1]
    assert ledger.store.size() == 900_000


def test_pictures_that_one_looks_at_cost_no_turn_of_one_s_merges(tmp_path):
    ledger = Ledger(tmp_path)
    desk = Desk(ledger)
    for seed in range(6):
        ledger.submit(merge_request(seed), "bob")
    own = ledger.submit(merge_request(10), "ann")
    started = []
    for number in range(4):
        ledger.submit(pictures_request(number), "ann")
        claim = desk.claim(ALL, ("short",))
        assert claim is not None
        desk.finish(claim, {"unit-0": SAVED})
        claim = desk.claim(ALL, ("long",))
        assert claim is not None
        started.append(claim.id)
        desk.finish(claim, {"report": SAVED})
    assert own.id in started[:2]


def test_new_names_do_not_go_before_those_who_wait(tmp_path):
    ledger = Ledger(tmp_path)
    desk = Desk(ledger)
    for seed in range(2):
        ledger.submit(merge_request(seed), "ann")
    first = desk.claim(ALL)
    assert first is not None
    desk.finish(first, {"report": SAVED})
    for number in range(6):
        ledger.submit(merge_request(100 + number), f"eve {number}")
        claim = desk.claim(ALL)
        assert claim is not None
        if claim.owner == "ann":
            break
        desk.finish(claim, {"report": SAVED})
    assert number <= 1
