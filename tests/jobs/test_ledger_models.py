"""Pictures and models in the ledger: known by what they are, everybody's to use, their owner's to delete."""

from __future__ import annotations

from contextlib import suppress

import pytest

from merging.errors import InvalidRequest
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.limits import Limits
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.pictures import PicturesRequest
from merging.zoo import catalogue
from tests.jobs.making import SAVED, long_request, pictures_request, take, trained_artifacts


def test_pictures_are_known_by_their_question_whoever_asked(ledger):
    desk, like = Desk(ledger), pictures_request(0)
    first = ledger.submit(pictures_request(0, 1), "ann")
    desk.finish(take(desk), {"unit-0": b"zero", "unit-1": b"one"})
    ledger.submit(pictures_request(1, 2), "bob")
    desk.finish(take(desk), {"unit-1": b"one", "unit-2": b"two"})
    assert ledger.pictures(like, [0, 1, 2, 3]) == {0: b"zero", 1: b"one", 2: b"two"}
    assert ledger.pictures(pictures_request(0, seed=1), [0]) == {}
    ledger.delete(first.id, "ann")
    assert ledger.pictures(like, [0, 1, 2]) == {1: b"one", 2: b"two"}


def model_entry(**other) -> catalogue.Entry:
    shipped = catalogue.find_entry("fashion-mlp-128-s0")
    return catalogue.Entry(**{**vars(shipped), "source": "uploaded", **other})


def test_a_model_is_everybody_s_to_use_and_its_owner_s_to_delete(ledger):
    entry = ledger.add_model(model_entry(name="mine"), b"weights", "ann")
    assert ledger.models() == ledger.models("ann") == (entry,)
    assert ledger.models("bob") == ()
    assert ledger.checkpoint(entry.sha256) == b"weights"
    assert ledger.submit(PicturesRequest(ModelRef.of(entry), "layers.0", (0,)), "bob").state == "queued"
    with pytest.raises(InvalidRequest, match="no model"):
        ledger.delete_model(entry.id, "bob")
    with pytest.raises(InvalidRequest, match="open job needs this model"):
        ledger.delete_model(entry.id, "ann")
    ledger.cancel(ledger.jobs(owner="bob")[0].id, "bob")
    ledger.delete_model(entry.id, "ann")
    assert ledger.models() == ()
    with pytest.raises(InvalidRequest, match="not on this machine"):
        ledger.checkpoint(entry.sha256)


def test_two_people_with_one_file_each_delete_their_own(ledger):
    first, second = (ledger.add_model(model_entry(), b"weights", owner) for owner in ("ann", "bob"))
    assert first.id != second.id
    ledger.delete_model(first.id, "ann")
    assert ledger.models() == (second,)
    assert ledger.checkpoint(second.sha256) == b"weights"


def test_made_up_people_neither_fill_the_store_nor_drive_out_the_runs_of_others(tmp_path):
    ledger = Ledger(tmp_path, Limits(owner_mb=1, address_mb=2, all_models_mb=3, store_mb=5))
    desk = Desk(ledger)
    for seed in range(3):
        ledger.submit(pictures_request(0, seed=seed), "ann")
        desk.finish(take(desk), {"unit-0": bytes([seed]) * 400_000})
    taken = 0
    for number in range(10):
        with suppress(InvalidRequest):
            ledger.add_model(model_entry(), bytes([number]) * 900_000, f"eve {number}", "198.51.100.7")
            taken += 1
    assert taken == 2
    with pytest.raises(InvalidRequest, match="your network address"):
        ledger.add_model(model_entry(), b"x" * 900_000, "eve 11", "198.51.100.7")
    ledger.add_model(model_entry(), b"y" * 900_000, "bob", "203.0.113.5")
    with pytest.raises(InvalidRequest, match="the limit for all together"):
        ledger.add_model(model_entry(), b"z" * 900_000, "cat", "192.0.2.1")
    assert len(ledger.jobs(owner="ann", states=("done",))) == 3


def test_made_up_people_who_ask_for_one_finished_training_take_no_room_of_others(tmp_path):
    ledger = Ledger(tmp_path, Limits(address_mb=2, all_models_mb=3))
    desk = Desk(ledger)
    ledger.submit(long_request(), "ann", address="203.0.113.5")
    claim = take(desk)
    trained = trained_artifacts(claim.request)
    trained["checkpoint.safetensors"] += bytes(900_000)
    assert desk.finish(claim, trained, model_entry(source="trained"))
    for number in range(2):
        ledger.submit(long_request(), f"eve {number}", address="198.51.100.7")
    with pytest.raises(InvalidRequest, match="your network address"):
        ledger.submit(long_request(), "eve 2", address="198.51.100.7")
    ledger.add_model(model_entry(), b"y" * 2_000_000, "bob", "192.0.2.1")  # one network of .9 MB is stored


def test_models_have_caps_a_person(tmp_path):
    ledger = Ledger(tmp_path, Limits(models=2, model_mb=1, owner_mb=1.5))
    with pytest.raises(InvalidRequest, match=r"2 MB\. The limit per model is 1 MB"):
        ledger.add_model(model_entry(), bytes(2_000_000), "ann")
    ledger.add_model(model_entry(), bytes(900_000), "ann")
    with pytest.raises(InvalidRequest, match="would need 2 MB"):
        ledger.add_model(model_entry(), bytes(900_001), "ann")
    ledger.add_model(model_entry(), b"1", "ann")
    with pytest.raises(InvalidRequest, match="2 models"):
        ledger.add_model(model_entry(), b"2", "ann")
    ledger.add_model(model_entry(), b"2", "bob")
    with pytest.raises(InvalidRequest, match="2 models"):
        ledger.submit(long_request(), "ann")  # refused before hours of training, not after
    assert ledger.submit(long_request(), "eve").state == "queued"


def test_a_trained_model_comes_into_the_list_with_its_job(ledger):
    desk = Desk(ledger)
    ledger.submit(long_request(), "ann")
    claim = take(desk)
    assert desk.finish(claim, {"report": SAVED, "checkpoint.safetensors": b"w"}, model_entry(source="trained"))
    assert [(entry.source, entry.owner) for entry in ledger.models()] == [("trained", "ann")]
    ledger.delete(claim.id, "ann")
    assert ledger.checkpoint(ledger.models()[0].sha256) == b"w"  # the model is one's own, not the job's


def test_nobody_else_starts_work_on_a_private_model(ledger):
    private = ledger.add_model(model_entry(name="mine", private=True), b"secret", "ann")
    asked = PicturesRequest(ModelRef.of(private), "layers.0", (0,))
    with pytest.raises(InvalidRequest, match="'mine' is private to the person who uploaded it"):
        ledger.submit(asked, "bob")
    assert ledger.submit(asked, "ann").state == "queued"
    ledger.add_model(model_entry(name="bob's own", private=True), b"secret", "bob")
    assert ledger.submit(asked, "bob").state == "queued"
