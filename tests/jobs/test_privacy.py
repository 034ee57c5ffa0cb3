"""What is made of private networks and images is their owner's: who may list, download, and start work on it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from merging.errors import InvalidRequest
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.images import add_images, delete_images, share_images
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.schema import _ADDED, _ADDED_TABLES
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.pictures import PicturesRequest
from merging.jobs.search import Mark, Search, is_mine, search, set_mark
from merging.jobs.trained import trained_entry
from merging.zoo.catalogue import find_entry, shipped_file
from merging.zoo.checkpoints.sandbox import convert
from merging.zoo.datasets import own
from tests.jobs.making import SAVED, long_request, merge_request, take, trained_artifacts
from tests.jobs.test_ledger_models import model_entry


def bring(ledger, content, owner, *, private=True, name="net"):
    return ledger.add_model(model_entry(name=name, private=private), content, owner)


def merged(ledger, entries, owner, *, seed=0, result=b"a merge"):
    """A finished merge of these networks; gives its id."""
    ledger.submit(replace(merge_request(seed), models=tuple(ModelRef.of(entry) for entry in entries)), owner)
    desk = Desk(ledger)
    claim = take(desk)
    assert desk.finish(claim, {"report": SAVED, "merge.safetensors": result})
    return claim.id


def pictures_of(content, name="merge of run"):
    sha256 = hashlib.sha256(content).hexdigest()
    return PicturesRequest(replace(ModelRef.of(model_entry()), sha256=sha256, name=name), "layers.0", (0,))


def sees(ledger, run, person):
    listed = {found.job.id for found in search(ledger, Search(kinds=("merge", "pictures")), person, 100)}
    seen = bool(ledger.visible([ledger.job(run)], person))
    assert (run in listed) == seen
    return seen


def test_a_run_on_private_networks_stays_its_owner_s_when_they_are_deleted(ledger):
    pair = [bring(ledger, content, "ann") for content in (b"x", b"y")]
    run = merged(ledger, pair, "ann")
    assert sees(ledger, run, "ann") and not sees(ledger, run, "bob")
    for entry in pair:
        ledger.delete_model(entry.id, "ann")
        assert sees(ledger, run, "ann") and not sees(ledger, run, "bob")


def test_sharing_all_networks_of_a_run_shows_the_run(ledger):
    first, second = (bring(ledger, content, "ann") for content in (b"x", b"y"))
    run = merged(ledger, (first, second), "ann")
    bring(ledger, b"x", "ann", private=False)
    assert not sees(ledger, run, "bob")
    bring(ledger, b"y", "ann", private=False)
    assert sees(ledger, run, "bob")


def test_a_run_on_shared_networks_stays_everybody_s_when_they_are_deleted_but_not_when_made_private(ledger):
    pair = [bring(ledger, content, "ann", private=False) for content in (b"x", b"y")]
    run = merged(ledger, pair, "ann")
    bring(ledger, b"x", "ann", private=True)
    assert not sees(ledger, run, "bob")
    bring(ledger, b"x", "ann", private=False)
    for entry in pair:
        ledger.delete_model(entry.id, "ann")
    assert sees(ledger, run, "bob")
    secret = [bring(ledger, content, "ann", private=private) for content in (b"s",) for private in (False, True)]
    other = merged(ledger, [secret[0], bring(ledger, b"t", "ann", private=False)], "ann", seed=1, result=b"other")
    assert not sees(ledger, other, "bob")
    ledger.delete_model(secret[1].id, "ann")  # private when it was deleted
    assert not sees(ledger, other, "bob") and sees(ledger, other, "ann")


def test_nobody_else_starts_work_on_what_was_made_of_a_private_network(ledger):
    run = merged(ledger, [bring(ledger, content, "ann") for content in (b"x", b"y")], "ann")
    with pytest.raises(InvalidRequest, match="'merge of run' is private"):
        ledger.submit(pictures_of(b"a merge"), "bob")
    job = ledger.submit(pictures_of(b"a merge"), "ann")
    assert not sees(ledger, job.id, "bob")
    ledger.cancel(job.id, "ann")
    again = merged(ledger, [replace(model_entry(), sha256=pictures_of(b"a merge").model.sha256), model_entry()], "ann")
    assert not sees(ledger, again, "bob") and sees(ledger, run, "ann")


def test_nobody_takes_a_public_result_away_by_bringing_it_as_their_own(ledger):
    shared = merged(ledger, [bring(ledger, c, "ann", private=False) for c in (b"x", b"y")], "ann", result=b"public")
    bring(ledger, b"public", "eve")
    assert sees(ledger, shared, "bob")
    assert ledger.submit(pictures_of(b"public"), "bob").state == "queued"
    example = next(job for job in ledger.examples() if job.kind == "merge")
    content = ledger.artifact(example.id, "merge.safetensors")
    bring(ledger, content, "eve")
    assert ledger.submit(pictures_of(content), "bob").state == "queued"


def test_two_owners_of_one_content_both_see_their_runs(ledger):
    pairs = {who: [bring(ledger, content, who) for content in (b"x", b"y")] for who in ("ann", "bob")}
    run = merged(ledger, pairs["ann"], "ann")
    assert not sees(ledger, run, "bob")  # he has the same networks, but it is not his run
    again = replace(merge_request(), models=tuple(map(ModelRef.of, pairs["bob"])))
    assert ledger.submit(again, "bob").id == run and sees(ledger, run, "bob") and not sees(ledger, run, "eve")
    assert len({entry.id for entries in pairs.values() for entry in entries}) == 4
    assert bring(Ledger(ledger.folder / "other"), b"x", "bob").id == pairs["bob"][0].id  # tells nothing about Ann


def test_what_cannot_be_read_is_hidden_and_not_shown(ledger):
    run = merged(ledger, [bring(ledger, content, "ann") for content in (b"x", b"y")], "ann")
    other = merged(ledger, [bring(ledger, content, "ann", private=False) for content in (b"p", b"q")], "ann", seed=1)
    with closing(sqlite3.connect(ledger.file)) as db, db:
        db.execute("UPDATE models SET entry = substr(entry, 1, 100)")
    assert not sees(ledger, run, "bob") and sees(ledger, run, "ann")
    assert sees(ledger, other, "bob")  # it was public before
    with pytest.raises(InvalidRequest, match="private"):  # a network that cannot be read is shared with nobody
        ledger.submit(pictures_of(b"p"), "bob")
    with closing(sqlite3.connect(ledger.file)) as db, db:
        db.execute("DELETE FROM models")
    assert not sees(ledger, run, "bob")


@pytest.mark.parametrize("is_damaged", [False, True])
@pytest.mark.parametrize(
    "lacks", [[("jobs", "private")], [("jobs", "hidden")], [*_ADDED]], ids=["private", "hidden", "all"]
)
def test_a_ledger_from_before_marks_its_runs(tmp_path, lacks, is_damaged):
    ledger = Ledger(tmp_path)
    pair = [bring(ledger, content, "ann") for content in (b"x", b"y")]
    run = merged(ledger, pair, "ann")
    job = ledger.submit(pictures_of(b"a merge"), "ann")
    ledger.cancel(job.id, "ann")
    shared = [bring(ledger, content, "ann", private=False) for content in (b"p", b"q")]
    open_run = merged(ledger, shared, "ann", seed=1, result=b"another merge")
    with closing(sqlite3.connect(ledger.file)) as db, db:
        for table, column in lacks:
            db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for table in _ADDED_TABLES if len(lacks) > 1 else ():
            db.execute(f"DROP TABLE {table}")
        if is_damaged:
            db.execute("DROP TABLE served")
    ledger = Ledger(tmp_path)
    assert (tmp_path / "ledger.damaged.sqlite").exists() == is_damaged
    for entry in pair:
        ledger.delete_model(entry.id, "ann")
    assert not sees(ledger, run, "bob") and not sees(ledger, job.id, "bob") and sees(ledger, open_run, "bob")


def test_hidden_runs_take_no_place_in_a_list(ledger):
    run = merged(ledger, [bring(ledger, content, "ann", private=False) for content in (b"p", b"q")], "ann")
    secret = [bring(ledger, content, "ann") for content in (b"x", b"y")]
    for seed in range(10):
        merged(ledger, secret, "ann", seed=seed)
    assert [found.job.id for found in search(ledger, Search(), "bob", 3)] == [run]


def test_an_error_does_not_quote_what_one_may_not_see(ledger):
    shared, secret = bring(ledger, b"z", "cat", private=False), bring(ledger, b"w", "ann", name="SECRET")
    ledger.submit(replace(merge_request(), models=(ModelRef.of(shared), ModelRef.of(secret))), "ann")
    with pytest.raises(InvalidRequest, match="started by someone else") as refusal:
        ledger.delete_model(shared.id, "cat")
    assert "SECRET" not in str(refusal.value)
    with pytest.raises(InvalidRequest, match="SECRET"):
        ledger.delete_model(secret.id, "ann")
    twin = bring(ledger, b"w", "bob")
    ledger.delete_model(twin.id, "bob")  # Ann's copy is still there for her job


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)
    arrays = {f"{split}_images": rng.integers(0, 255, (120, 28, 28), dtype=np.uint8) for split in ("train", "test")}
    labels = {f"{split}_labels": np.arange(120) % 10 for split in ("train", "test")}
    file = tmp_path / "images.npz"
    np.savez(file, **arrays, **labels)
    return file


def test_runs_on_private_images_are_their_owner_s(images):
    ledger = Ledger()
    mine = add_images(ledger, images, "ann", label="my patients")
    request = replace(merge_request(), dataset=mine.id, data_sha256="ab" * 32)
    ledger.submit(request, "ann")
    assert not sees(ledger, request.id, "bob") and sees(ledger, request.id, "ann")
    share_images(ledger, mine.id, "ann", True)
    assert sees(ledger, request.id, "bob")
    share_images(ledger, mine.id, "ann", False)
    assert not sees(ledger, request.id, "bob")
    ledger.cancel(request.id, "ann")
    delete_images(ledger, mine.id, "ann")
    assert not sees(ledger, request.id, "bob")


def test_the_words_of_another_owner_of_the_same_images_are_not_shown(images):
    ledger = Ledger()
    first = add_images(ledger, images, "ann", label="my patients")
    path = own.folder() / first.id / "owners"
    claim = json.loads(next(path.glob("*.json")).read_text())
    next(path.glob("*.json")).write_text(json.dumps({**claim, "notes": ["Left out: SECRET.txt."]}))
    second = add_images(ledger, images, "bob", label="digits")
    assert second.id == first.id
    for owner, label, notes in (("ann", "my patients", ("Left out: SECRET.txt.",)), ("bob", "digits", ())):
        dataset = own.find_own(first.id, owner)
        assert (dataset.facts.label, dataset.notes) == (label, notes)


def test_what_is_trained_on_private_images_is_private_too(images):
    ledger = Ledger()
    mine = add_images(ledger, images, "ann", label="my patients")
    for shared in (False, True):
        share_images(ledger, mine.id, "ann", shared)
        request = replace(long_request(seed=int(shared)), dataset=mine.id, data_sha256="ab" * 32)
        ledger.submit(request, "ann")
        claim = take(Desk(ledger))
        entry = trained_entry(request, claim.owner, trained_artifacts(request))
        assert entry.private is not shared
    ledger.add_model(entry, trained_artifacts(request)["checkpoint.safetensors"], "ann")
    share_images(ledger, mine.id, "ann", False)
    assert [one.private for one in ledger.models("ann")] == [True]


def test_a_file_that_names_someone_s_images_learns_nothing_about_them(images):
    """Neither their facts, nor their label, nor an accuracy on them."""
    mine = add_images(Ledger(), images, "ann", label="my patients")
    weights = safetensors.numpy.load_file(shipped_file(find_entry("fashion-mlp-128-s0").sha256))
    known = {"architecture": "mlp", "config": {"widths": [128, 128, 128], "in_shape": [1, 28, 28], "classes": 10}}
    story = {**known, "dataset": mine.id, "mean": [0.5], "std": [0.25]}
    data = safetensors.numpy.save(weights, {"mergescope": json.dumps(story)})
    seen = {person: convert(data, measure=True, person=person).facts for person in ("ann", "bob")}
    assert seen["ann"]["measured"] and not seen["bob"]["measured"]
    assert "patients" not in json.dumps(seen["bob"])


def test_a_batch_s_key_is_shown_to_its_own_person_only(ledger):
    request, batch = merge_request(), "nets=a%2Cb&live=0123456789abcdef"
    ledger.submit(request, "ann", batch=batch)
    ledger.submit(request, "bob")
    shown = {who: search(ledger, Search(), who, 9)[0].batch for who in ("ann", "bob", "eve")}
    assert shown == {"ann": batch, "bob": "", "eve": ""}  # the batch names networks, which may be private
    assert is_mine(ledger, batch, "ann") and not is_mine(ledger, batch, "bob") and not is_mine(ledger, "", "ann")


def test_damaged_texts_break_no_list(ledger):
    """Neither while the program runs nor after it opens the ledger again."""
    run = merged(ledger, [bring(ledger, content, "ann", private=False) for content in (b"x", b"y")], "ann")
    set_mark(ledger, run, "ann", Mark("a name", "a note"))
    good = merged(ledger, [bring(ledger, content, "ann", private=False) for content in (b"p", b"q")], "ann")
    with closing(sqlite3.connect(ledger.file)) as db, db:
        db.execute("UPDATE marks SET name = x'00ff', note = x'00ff'")
        db.execute("UPDATE owners SET batch = x'00ff', title = x'00ff'")
    (found,) = [one for one in search(ledger, Search(), "ann", 9) if one.job.id == run]
    assert (found.mark, found.batch) == (Mark(), "")
    with closing(sqlite3.connect(ledger.file)) as db, db:
        db.execute("UPDATE jobs SET title = x'00ff' WHERE id = ?", (run,))
    assert [one.job.id for one in search(ledger, Search(), "ann", 9)] == [good]
    assert {one.job.title for one in search(Ledger(ledger.folder), Search(), "ann", 9)} >= {"merge"}
