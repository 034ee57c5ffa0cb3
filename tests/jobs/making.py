"""Requests and models for the tests of the work package, made from the shipped checkpoints."""

from __future__ import annotations

import hashlib
import json

from merging.jobs.claims import Claim
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.pictures import PicturesRequest
from merging.jobs.requests.train import TrainRequest
from merging.results import reports, saving
from merging.zoo import catalogue
from merging.zoo.datasets.fingerprint import fingerprint

MLPS = ("fashion-mlp-128-s0", "fashion-mlp-128-s1")
DATA = "fashion-mnist"


def mlps() -> tuple[ModelRef, ModelRef]:
    a, b = (ModelRef.of(catalogue.find_entry(name)) for name in MLPS)
    return a, b


def merge_request(seed: int = 0, *, images: int = 100, points: int = 3, **other) -> MergeRequest:
    asked = {"models": mlps(), "dataset": DATA, "data_sha256": fingerprint(DATA, images)}
    return MergeRequest(images=images, points=points, seed=seed, **asked | other)


def pictures_request(*units: int, seed: int = 0, steps: int = 16) -> PicturesRequest:
    return PicturesRequest(mlps()[0], "layers.0", units or (0,), {"steps": steps}, seed)


def long_request(seed: int = 0) -> TrainRequest:
    """A training that takes minutes: something to cancel, to kill and to be late."""
    config = {"widths": [256, 256], "in_shape": [1, 28, 28], "classes": 10}
    return TrainRequest("mlp", config, DATA, fingerprint(DATA, None), epochs=50, seed=seed)


def trained_artifacts(request: TrainRequest) -> dict[str, bytes]:
    """What a training leaves: a report, and a checkpoint of no tensors that tells its story."""
    story = {"architecture": request.architecture, "config": request.config, "dataset": request.dataset}
    story |= {"name": f"net {request.seed}", "classes": list("0123456789"), "mean": [0.5], "std": [0.5]}
    header = json.dumps({"__metadata__": {"mergescope": json.dumps(story)}})
    data = len(header).to_bytes(8, "little") + header.encode()
    found = reports.TrainReport("net", hashlib.sha256(data).hexdigest(), 0.9, 0.1, (), 1.0)
    return {"report": saving.save(found), "checkpoint.safetensors": data}


ALL = ("merge", "pictures", "study", "zip", "train", "download")
SAVED = saving.save(reports.Metrics(0.0, 0.0, 0.0))  # something that a report can be read from


def take(desk: Desk) -> Claim:
    """The next job of any kind."""
    claim = desk.claim(ALL)
    assert claim is not None
    return claim
