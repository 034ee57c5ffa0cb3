"""Files of a run: the networks in them have the names that the visitor knows."""

import json
from dataclasses import replace

from merging.jobs.requests.base import ModelRef
from merging.results import saving
from merging.zoo.catalogue import find_entry, shipped_file
from merging.zoo.checkpoints.checkpoint import load_bytes
from merging.zoo.checkpoints.metadata import with_name
from tests.figures.made import report
from tests.jobs.test_privacy import bring
from tests.pages.ledgers import merge_request, running
from ui.runs.downloads import _artifact
from ui.shell import state


def test_a_network_that_two_people_merged_is_given_to_each_under_their_own_names(ledger, monkeypatch):
    pairs = {
        who: [bring(ledger, content, who, name=f"{who}'s {content.decode()}") for content in (b"x", b"y")]
        for who in ("ann", "bob")
    }
    asked = {who: replace(merge_request(), models=tuple(map(ModelRef.of, pair))) for who, pair in pairs.items()}
    desk, claim = running(ledger, asked["ann"], "ann")
    stored = with_name(shipped_file(find_entry("fashion-mlp-128-s0").sha256).read_bytes(), "Merge of ann's x + ann's y")
    found = report(json.loads(claim.request.to_json()))
    assert desk.finish(claim, {"report": saving.save(found), "merge.safetensors": stored})
    ledger.submit(asked["bob"], "bob")

    def name_for(who: str) -> str:
        monkeypatch.setattr(state, "owner", lambda: who)
        return load_bytes(_artifact(state.find_job(claim.id), "merge.safetensors")).name

    assert [name_for(who) for who in ("ann", "bob")] == [f"Merge of {who}'s x + {who}'s y" for who in ("ann", "bob")]
    ledger.delete(claim.id, "ann")
    assert name_for("bob") == "Merge of bob's x + bob's y"
