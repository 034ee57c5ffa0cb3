"""Own images through the tasks of a worker: a training, a merge with curves, a zip, all with their classes."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from merging.errors import InvalidRequest, InvalidSetting
from merging.jobs.ledger.images import add_images
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.train import TrainRequest
from merging.jobs.requests.zip_networks import ZipRequest
from merging.jobs.tasks.payload import Payload
from merging.jobs.tasks.run import run_task
from merging.jobs.worker.gather import gather_payload
from merging.results import saving
from merging.zoo.checkpoints.checkpoint import load_bytes
from merging.zoo.datasets import own
from merging.zoo.datasets.fingerprint import fingerprint
from merging.zoo.training.train import train, usual_batch


def silent(stage: str, fraction: float | None = None, message: str = "") -> None:
    """No report."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two small MLPs trained on own images by the train task: what a worker needs to go on with them."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MERGESCOPE_HOME", str(home))
        ledger = Ledger()
        labels = np.arange(300) % 3
        images = np.random.default_rng(0).integers(0, 120, (300, 6, 6, 1), np.uint8)
        images[np.arange(300), 1 + labels, 1 + labels] = 255  # a bright pixel tells the class
        np.savez(home / "dots.npz", images=images, labels=labels, classes=np.array(["one", "two", "three"]))
        dots = add_images(ledger, home / "dots.npz", "ann")
        nets = []
        for seed in (0, 1):
            config = {"widths": [16], "in_shape": [1, 6, 6], "classes": 3}
            request = TrainRequest("mlp", config, dots.id, fingerprint(dots.id, None), epochs=20, seed=seed)
            payload = gather_payload(ledger, request, "cpu", 1)
            patch.setenv("MERGESCOPE_HOME", str(home / "elsewhere"))  # a worker has what it was sent and no more
            nets.append(run_task("train", payload, silent))
            patch.setenv("MERGESCOPE_HOME", str(home))
        yield dots, nets


def reference(data: bytes, name: str) -> ModelRef:
    net = load_bytes(data)
    kept = {key: getattr(net, key) for key in ("architecture", "config", "dataset", "classes", "mean", "std")}
    return ModelRef(hashlib.sha256(data).hexdigest(), name, **kept)


def test_a_training_on_own_images_learns_them_and_says_so(trained):
    dots, nets = trained
    report = saving.load(nets[0]["report"])
    assert report.images == 240 and report.accuracy > 0.9
    net = load_bytes(nets[0]["checkpoint.safetensors"])
    assert (net.dataset, net.classes) == (dots.id, ("one", "two", "three"))
    assert net.mean == pytest.approx(dots.facts.mean) and net.std == pytest.approx(dots.facts.std)


def test_a_merge_on_own_images_has_curves_similarity_and_exemplars(trained):
    dots, nets = trained
    data = tuple(one["checkpoint.safetensors"] for one in nets)
    models = tuple(reference(one, name) for one, name in zip(data, "AB", strict=True))
    images = {split: own.own_images(dots.id, split, 100) for split in ("train", "test")}
    request = MergeRequest(models, dataset=dots.id, data_sha256=fingerprint(dots.id, 100), images=100, points=3)
    report = saving.load(run_task("merge", Payload(request.to_json(), data, images, "cpu", 1), silent)["report"])
    assert report.curves["aligned"]["test"].ends[0].accuracy > 0.9
    assert report.similarity and report.units[0].images == 60 and report.missing == ""
    assert report.request["dataset"] == dots.id


def test_a_zip_on_own_images_knows_their_classes_without_the_files(trained, monkeypatch, tmp_path):
    dots, nets = trained
    data = tuple(one["checkpoint.safetensors"] for one in nets)
    models = tuple(reference(one, name) for one, name in zip(data, "AB", strict=True))
    images = {split: own.own_images(dots.id, split, 100) for split in ("train", "test")}
    request = ZipRequest(models, dots.id, fingerprint(dots.id, 100), images=100)
    with pytest.raises(InvalidRequest, match="The classes of B are one, two"):
        ZipRequest((models[0], replace(models[1], classes=("one", "two", "four"))), dots.id, request.data_sha256)
    monkeypatch.setenv("MERGESCOPE_HOME", str(tmp_path))
    report = saving.load(run_task("zip", Payload(request.to_json(), data, images, "cpu", 1), silent)["report"])
    assert report.counts == (60, 60) and report.alone.min() > 0.9


def test_few_images_make_many_steps_and_a_network_that_cannot_take_them_is_refused(trained):
    dots, _ = trained
    assert [usual_batch(count) for count in (10, 240, 1_000, 4_096, 60_000)] == [16, 16, 62, 256, 256]
    small = tuple(own.own_images(dots.id, split) for split in ("train", "test"))
    with pytest.raises(InvalidSetting, match="cannot take images of 1×6×6: they are too small for its pools"):
        train("cnn", {"widths": [4, 4, 4, 4]}, small, epochs=1)
    with pytest.raises(InvalidSetting, match="takes colour images, but those of dots are grey"):
        train("tv_resnet18", {}, small, epochs=1)
