"""Names that people give to networks: others see those that everybody sees, or none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from merging.errors import InvalidRequest
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.requests.base import ModelRef
from merging.jobs.search import Search, search
from merging.jobs.trained import trained_entry
from merging.zoo.catalogue import find_entry, shipped_file
from merging.zoo.checkpoints.checkpoint import load_bytes
from merging.zoo.checkpoints.metadata import with_name
from tests.jobs.making import long_request, merge_request, take, trained_artifacts
from tests.jobs.test_privacy import bring


def test_a_search_knows_one_s_own_names_and_not_those_of_another_owner(ledger):
    """Ann and Bob brought the same networks: their requests are one job."""
    runs = {}
    for who, names in (("ann", ("alpha", "beta")), ("bob", ("gamma", "delta"))):
        pair = [bring(ledger, c, who, name=name) for c, name in zip((b"x", b"y"), names, strict=True)]
        runs[who] = ledger.submit(replace(merge_request(), models=tuple(map(ModelRef.of, pair))), who).id
    assert runs["ann"] == runs["bob"]
    hits = {(who, word): len(search(ledger, Search(word), who, 9)) for who in runs for word in ("alpha", "gamma")}
    assert hits == {("ann", "alpha"): 1, ("ann", "gamma"): 0, ("bob", "alpha"): 0, ("bob", "gamma"): 1}
    for entry in ledger.models("ann"):
        ledger.delete_model(entry.id, "ann")
    with pytest.raises(InvalidRequest, match="gamma") as refusal:
        ledger.delete_model(ledger.models("bob")[0].id, "bob")
    assert "alpha" not in str(refusal.value)


def test_titles_for_others_have_the_names_that_everybody_sees(ledger):
    """A private copy of a network that everybody may use hides no run, but its private name stays hidden."""
    entry = find_entry("fashion-mlp-128-s0")
    mine = bring(ledger, shipped_file(entry.sha256).read_bytes(), "ann", name="PRIVATE")
    ledger.submit(replace(merge_request(), models=(ModelRef.of(mine), merge_request().models[1])), "ann")
    assert {who: len(search(ledger, Search("private"), who, 9)) for who in ("ann", "bob")} == {"ann": 1, "bob": 0}
    (found,) = search(ledger, Search(), "bob", 9)
    assert found.job.title.startswith(entry.name)


def test_a_training_that_two_people_asked_for_gives_each_of_them_the_network(ledger):
    request, desk = long_request(), Desk(ledger)
    for who in ("ann", "bob"):
        ledger.submit(request, who)
    claim = take(desk)
    made = trained_artifacts(request)
    assert desk.finish(claim, made, trained_entry(request, "ann", made))
    assert sorted(entry.owner for entry in ledger.models()) == ["ann", "bob"]
    ledger.delete_model(ledger.models("bob")[0].id, "bob")
    for who in ("ann", "bob", "cat"):  # who asks later, or deleted it, gets it at once; Ann's job stays as it is
        assert ledger.submit(request, who).state == "done"
    assert sorted(entry.owner for entry in ledger.models()) == ["ann", "bob", "cat"]


def test_a_job_that_another_person_runs_again_has_their_names(ledger):
    pairs = {}
    for who, private in (("ann", True), ("bob", False)):
        pairs[who] = [bring(ledger, content, who, private=private, name=f"{who}'s") for content in (b"x", b"y")]
        request = replace(merge_request(), models=tuple(map(ModelRef.of, pairs[who])))
        job = ledger.submit(request, who)
        claim = take(desk := Desk(ledger))
        assert [model.name for model in claim.request.models] == [f"{who}'s"] * 2
        desk.fail(claim, {"kind": "MergescopeError", "text": "no"})
    assert (
        not search(ledger, Search("ann's"), "eve", 9) and search(ledger, Search("bob's"), "eve", 9)[0].job.id == job.id
    )


def test_a_file_can_get_another_name_and_keeps_its_tensors():
    data = shipped_file(find_entry("fashion-mlp-128-s0").sha256).read_bytes()
    renamed = with_name(data, "another")
    assert load_bytes(renamed).name == "another" and load_bytes(data).name != "another"
    old, new = (safetensors.numpy.load(one) for one in (data, renamed))
    assert all(np.array_equal(old[name], new[name]) for name in old) and old.keys() == new.keys()
