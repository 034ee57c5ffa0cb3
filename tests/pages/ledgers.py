"""Jobs in every state in a ledger of a test's own, made as people and a dispatcher make them."""

from __future__ import annotations

import json
from typing import Any

from merging.jobs.claims import Claim
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.base import ModelRef, Request
from merging.jobs.requests.merge import MergeRequest
from merging.results import saving
from merging.zoo import catalogue
from merging.zoo.datasets.fingerprint import fingerprint
from tests.figures.made import report

SOMEBODY = "somebody"


def merge_request(preset: int = 0, **changes: Any) -> MergeRequest:
    """The merge of a preset's pair."""
    card = catalogue.presets()[preset]
    models = tuple(ModelRef.of(catalogue.find_entry(id)) for id in (card.a, card.b))
    known = {"align": card.align, "combine": card.combine, "correct": card.correct, "dataset": "fashion-mnist"}
    known |= {"images": 200, "points": 11, "data_sha256": fingerprint("fashion-mnist", changes.get("images", 200))}
    return MergeRequest(models, **{**known, **changes})


def queued(ledger: Ledger, request: Request | None = None, owner: str = SOMEBODY) -> str:
    """A job that waits; gives its id."""
    return ledger.submit(request or merge_request(), owner, again=True).id


def running(ledger: Ledger, request: Request | None = None, owner: str = SOMEBODY) -> tuple[Desk, Claim]:
    """A job that runs, two stages done."""
    queued(ledger, request, owner)
    desk = Desk(ledger)
    claim = desk.claim(("merge", "pictures", "study", "zip", "train", "download"))
    assert claim is not None
    for stage, share in (("loading", 0.02), ("tracing", 0.08), ("matching", 0.2)):
        desk.tell(claim, stage, share, "sweep 3, gain 12.4" if stage == "matching" else "")
    return desk, claim


def done(ledger: Ledger, request: MergeRequest | None = None, owner: str = SOMEBODY, **made: Any) -> str:
    """A finished merge with a report drawn from a seed; gives its id."""
    desk, claim = running(ledger, request or merge_request(), owner)
    asked = json.loads(claim.request.to_json())
    found = report(asked, corrected=asked["correct"] != "none", **made)
    files = {name: name.encode() for name in ("merge.safetensors", "aligned.safetensors", "naive.safetensors")}
    assert desk.finish(claim, {"report": saving.save(found), "permutation.npz": b"npz", **files})
    return claim.id


def failed(ledger: Ledger, request: Request | None = None, owner: str = SOMEBODY) -> str:
    """A job that failed with details; gives its id."""
    desk, claim = running(ledger, request, owner)
    text = "The worker ran out of memory in stage matching. Ask for <b>fewer</b> images."
    desk.fail(claim, {"kind": "MemoryError", "text": text, "details": "Traceback: line 1"})
    return claim.id
