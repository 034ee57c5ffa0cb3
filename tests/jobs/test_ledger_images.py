"""Own images in the ledger's care: caps, names, who may ask for what, and no deletion under an open job."""

from __future__ import annotations

import pytest

from merging.errors import DataUnavailable, InvalidRequest
from merging.jobs.ledger.connection import connect, transaction
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.images import add_images, delete_images
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.limits import Limits
from merging.jobs.privacy import mark_private
from merging.jobs.requests.download import DownloadRequest
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.train import TrainRequest
from merging.jobs.worker.gather import gather_payload
from merging.zoo.datasets import own
from merging.zoo.datasets.fingerprint import fingerprint
from tests.jobs.making import mlps, take
from tests.jobs.test_ledger_models import model_entry
from tests.zoo.image_files import folder, two_classes


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_HOME", str(tmp_path / "home"))
    return Ledger()


@pytest.fixture
def birds(tmp_path):
    return folder(tmp_path / "birds", two_classes(10))


def training(id: str, seed: int = 0) -> TrainRequest:
    config = {"widths": [4], "in_shape": [3, 4, 5], "classes": 2}
    return TrainRequest("mlp", config, id, fingerprint(id, None), epochs=1, seed=seed)


def test_images_are_kept_under_a_name_within_the_owners_caps(tmp_path, birds, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_HOME", str(tmp_path / "home"))
    ledger = Ledger(limits=Limits(data_sets=2))
    kept = add_images(ledger, birds, "ann", label="")
    assert kept.facts.label == "birds" and own.own_datasets("ann") == (kept,)
    with pytest.raises(InvalidRequest, match=f"already have a data set called birds .{kept.id}"):
        add_images(ledger, birds, "ann", label="birds")
    again = add_images(ledger, birds, "ann", label="more birds")  # the same images: renamed, not doubled
    assert own.own_datasets("ann") == (again,) and again.facts.label == "more birds"
    add_images(ledger, folder(tmp_path / "fish", two_classes(12)), "ann")
    with pytest.raises(InvalidRequest, match="You have 2 data sets, the limit"):
        add_images(ledger, birds, "ann", label="third")
    assert [path.name for path in own.folder().iterdir() if path.name.startswith(".")] == []


def test_megabytes_are_bounded_for_one_and_for_all(tmp_path, birds, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_HOME", str(tmp_path / "home"))
    small = Ledger(limits=Limits(images_mb=1))
    with pytest.raises(DataUnavailable, match=r"10 images of 3×400×400 take 5 MB, but only 1 MB are available"):
        add_images(small, birds, "ann", size=(400, 400))
    crowded = Ledger(limits=Limits(all_images_mb=1))
    add_images(crowded, birds, "ann", size=(150, 150))
    with pytest.raises(DataUnavailable, match="0 MB are available"):
        add_images(crowded, birds, "bob", size=(160, 160))
    assert own.own_datasets("bob") == ()


@pytest.mark.parametrize("name", ["x" * 61, "MNIST", "fashion-mnist", "own-0123456789ab", "\u200b"])
def test_names_that_cannot_stand_in_menus_are_refused(ledger, birds, name):
    with pytest.raises(InvalidRequest, match="1 to 60 characters and must differ from built-in names"):
        add_images(ledger, birds, "ann", label=name)


def test_an_open_job_keeps_its_images(ledger, birds):
    kept = add_images(ledger, birds, "ann", shared=True)
    job = ledger.submit(training(kept.id), "bob")
    with pytest.raises(InvalidRequest, match="no images"):
        delete_images(ledger, kept.id, "bob")
    with pytest.raises(InvalidRequest, match=r"An open job needs these images: Train MLP 1×4 on birds, seed 0"):
        delete_images(ledger, kept.id, "ann")
    payload = gather_payload(ledger, take(Desk(ledger)).request, "cpu", 1)
    assert {split: len(one) for split, one in payload.images.items()} == {"train": 8, "test": 2}
    assert payload.images["train"].facts == kept.facts  # all that a worker without the files needs
    ledger.cancel(job.id, "bob")
    delete_images(ledger, kept.id, "ann")
    assert own.own_datasets("ann") == ()


def test_one_of_two_owners_may_leave_an_open_job(ledger, birds):
    kept = add_images(ledger, birds, "ann")
    add_images(ledger, birds, "bob")
    ledger.submit(training(kept.id), "bob")
    delete_images(ledger, kept.id, "ann")
    assert own.find_own(kept.id) is not None


def test_private_and_deleted_images_cannot_be_asked_for_but_finished_requests_are_read(ledger, birds):
    kept = add_images(ledger, birds, "ann")
    request = training(kept.id)
    with pytest.raises(InvalidRequest, match="were deleted, or belong to someone who does not share them"):
        ledger.submit(request, "bob")
    ledger.submit(request, "ann")
    ledger.cancel(request.id, "ann")
    delete_images(ledger, kept.id, "ann")
    with pytest.raises(InvalidRequest, match="were deleted"):
        ledger.submit(request, "ann")
    with pytest.raises(InvalidRequest, match="were deleted"):
        ledger.submit(training(kept.id, seed=1), "ann")  # there is nothing to learn from
    again = from_json(request.to_json())
    assert again == request and again.id == request.id
    assert "own images that are not on this machine" in again.title


def test_requests_name_own_images_by_form_and_refuse_what_does_not_fit(ledger, birds):
    kept = add_images(ledger, birds, "ann")
    with pytest.raises(InvalidRequest, match=r"size 1×28×28, but birds has 3×4×5\. Upload the images again"):
        MergeRequest(mlps(), dataset=kept.id, data_sha256=fingerprint(kept.id, 100))
    with pytest.raises(InvalidRequest, match="No data set is called 'own-xyz'"):
        MergeRequest(mlps(), dataset="own-xyz")
    with pytest.raises(InvalidRequest, match="cannot be downloaded"):
        DownloadRequest(kept.id)


def test_damaged_images_of_one_person_stop_nobody_else(ledger, birds, tmp_path_factory):
    kept = add_images(ledger, birds, "ann")
    ledger.submit(training(kept.id), "ann")
    place = next(own.folder().glob("own-*"))
    for file in (place / "facts.json", next((place / "owners").glob("*.json"))):
        whole = file.read_text()
        file.write_text("")
        ledger.add_model(model_entry(private=False), file.name.encode(), "bob")
        with connect(ledger.file) as db, transaction(db):
            mark_private(db)  # as for a ledger of an earlier version
        assert not ledger.visible(ledger.jobs(), "bob")
        assert ledger.visible(ledger.jobs(), "ann")
        file.write_text(whole)
    assert own.find_own(kept.id) is not None
