"""Own images on the page Models: brought, looked at, used for training and merging, shared and deleted."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from merging.jobs.ledger.images import add_images
from merging.jobs.requests.train import TrainRequest
from merging.zoo.catalogue import find_entry
from merging.zoo.datasets import own
from merging.zoo.datasets.fingerprint import fingerprint
from tests.pages.ledgers import done, merge_request
from tests.pages.test_merge_page import press, texts
from tests.zoo.image_files import folder, reading, two_classes, zipped
from ui.panels.own_images import as_npz, counts_table, sheet
from ui.shell import state

VISITOR = "0" * 32


def bring(app, name: str, data: bytes):
    uploader = next(one for one in app.file_uploader if one.key == "images file")
    uploader.set_value((name, data, "application/octet-stream")).run()
    return press(app, "Read and add")


@pytest.fixture
def archive(tmp_path):
    return zipped(tmp_path / "birds.zip", two_classes(10)).read_bytes()


def mine():
    """The one data set that somebody brought on the page."""
    (place,) = own.folder().glob("own-*")
    return own.find_own(place.name)


def test_a_zip_becomes_a_data_set_that_one_looks_at_and_deletes(ledger, open_page, archive):
    app = bring(open_page("models"), "../../birds.zip", archive)
    assert "Added birds: 8 training and 2 test images, 2 classes" in texts(app, "success")
    assert "80% of each class are for training and 20% for testing, drawn with seed 0" in texts(app, "info")
    birds = mine()
    assert birds.facts.label == "birds" and not birds.claims[0].shared
    card = texts(app, "markdown")
    assert "**birds** :gray[yours alone]" in card and "8 training and 2 test images of 3×4×5 · 2 classes" in card
    assert f"mean {birds.facts.mean[0]:.4f}" in card and f"std {birds.facts.std[0]:.4f}" in card
    app.run()
    app = press(app, "Share")
    assert mine().claims[0].shared and "yours, shared with everybody here" in texts(app, "markdown")
    app = press(app, "Delete these images")
    assert "Uploaded images" not in texts(app, "markdown") and list(own.folder().glob("own-*")) == []


def test_name_size_channels_and_who_may_use_them_are_said_in_the_form(ledger, open_page, archive):
    app = open_page("models")
    app.text_input(key="images name").set_value("My *birds*").run()
    app.text_input(key="images size").set_value("8x6").run()
    app.selectbox(key="images colour").set_value("grey").run()
    next(one for one in app.segmented_control if one.key == "images who").set_value("everybody here").run()
    app = bring(app, "x.zip", archive)
    birds = mine()
    assert birds.facts.shape == (1, 8, 6) and birds.claims[0].shared and birds.facts.label == "My *birds*"
    assert r"My \*birds\*" in texts(app, "success")
    assert "10 of 10 images had another size" in texts(app, "info") and "converted to grey" in texts(app, "info")
    other = open_page("models")  # another visitor
    assert "shared by someone else" in texts(other, "markdown")
    assert "Delete these images" not in {button.label for button in other.button}


@pytest.mark.parametrize(
    "name, size, words",
    [("birds.zip", "", "neither a zip"), ("birds.zip", "wide", "such as 32x32"), ("birds.npz", "", "nor an .npz")],
)
def test_what_cannot_be_read_is_refused_in_words(ledger, open_page, name, size, words):
    app = open_page("models")
    app.text_input(key="images size").set_value(size).run()
    app = bring(app, name, b"no archive")
    assert words in texts(app, "error") and len(app.error) == 1
    assert list(own.folder().glob("*")) == []


def test_a_network_is_trained_on_own_images_from_the_form(ledger, open_page, archive):
    app = bring(open_page("models"), "birds.zip", archive)
    app.run()
    app.selectbox(key="train images").set_value(mine().id).run()
    app = press(app, "Train")
    (job,) = ledger.jobs(kind="train")
    assert (job.request["dataset"], job.request["config"]["in_shape"]) == (mine().id, [3, 4, 5])
    assert (job.request["config"]["classes"], job.title) == (2, "Train MLP 3×512 · birds · seed 2")
    app = press(app, "Delete these images")
    assert "An open job needs these images" in texts(app, "error") and mine() is not None


def test_own_images_are_a_choice_for_an_uploaded_network(ledger, open_page, archive):
    app = bring(open_page("models"), "birds.zip", archive)
    app.run()
    assert "birds" in app.selectbox(key="upload data").options


def test_networks_of_own_images_merge_on_them_as_long_as_they_are_here(ledger, open_page, tmp_path):
    birds = add_images(ledger, folder(tmp_path / "birds", two_classes(10)), "somebody", shared=True)
    shipped = find_entry("fashion-mlp-128-s0")
    config = {**shipped.config, "in_shape": [3, 4, 5], "classes": 2}
    for number in range(2):
        like = replace(
            shipped, name=f"bird net {number}", dataset=birds.id, config=config, classes=("ant", "bee"),
            mean=birds.facts.mean, std=birds.facts.std, source="trained",
        )  # fmt: skip
        ledger.add_model(like, bytes([number]), "somebody")
    nets = {entry.name: entry.id for entry in ledger.models()}
    app = open_page()
    for name, number in (("a", 0), ("b", 1)):
        app.selectbox(key=f"form_{name}").set_value(nets[f"bird net {number}"]).run()
    assert "MLP 3×128 · birds" in texts(app, "caption")
    press(app, "Run merge")
    (job,) = ledger.jobs(kind="merge")
    assert (job.request["dataset"], job.request["data_sha256"]) == (birds.id, fingerprint(birds.id, 2000))
    own.share_own(birds.id, "somebody", False)
    app = open_page()
    for name, number in (("a", 0), ("b", 1)):
        app.selectbox(key=f"form_{name}").set_value(nets[f"bird net {number}"]).run()
    assert "the merge will run without curves and similarity" in texts(app, "info")


def test_a_finished_run_on_deleted_images_still_opens_and_says_so(ledger, open_page, tmp_path, monkeypatch):
    like = two_classes(10, size=(28, 28), channels=1)
    ten = {
        f"{number}/{at}-{path.split('/')[1]}": data
        for number in range(10)
        for at, (path, data) in enumerate(like.items())
    }
    images = add_images(ledger, folder(tmp_path / "ten", ten), "somebody", shared=True, label="ten")
    run = done(ledger, merge_request(dataset=images.id, data_sha256=fingerprint(images.id, 200)))
    assert "· ten ·" in texts(open_page(run=run[:12]), "caption")
    own.remove_own(images.id, "somebody")
    for page in ("merge", "neurons", "similarity", "method"):
        app = open_page(page, run=run[:12])
        assert f"own images that are not on this machine ({images.id})" in texts(app, "caption")
    app = press(open_page(run=run[:12]), "Run again with another seed")
    assert "were deleted, or belong to someone who does not share them" in texts(app, "error")


def test_the_sheet_shows_images_by_class_and_the_download_is_the_same_data_set(ledger, tmp_path):
    birds = add_images(ledger, folder(tmp_path / "birds", two_classes(20)), VISITOR)
    picture = Image.open(io.BytesIO(sheet(birds.id)))
    assert picture.size == (8 * 112, 2 * 133)
    first = np.asarray(picture.convert("RGB").resize((8 * 112, 2 * 133)))[2:110, 2:110]
    sample = own.sample_images(birds.id, 32)
    tile = np.asarray(Image.fromarray(np.moveaxis(sample.images[0], 0, -1)).resize((108, 108), 0))
    assert np.array_equal(first, tile)  # channels in their order
    assert counts_table(birds)[1] == {"Label": 1, "Class": "bee", "Training": 8, "Test": 2}
    again = tmp_path / "again.npz"
    again.write_bytes(as_npz(birds.id))
    assert reading(again, tmp_path / "again").id == birds.id


@pytest.mark.parametrize("file", ["train-images.npy", "train-labels.npy", "facts.json"])
def test_damaged_images_of_somebody_else_leave_the_page_whole(ledger, open_page, tmp_path, file):
    birds = add_images(ledger, folder(tmp_path / "birds", two_classes(20)), "somebody", shared=True)
    whole = len(open_page("models").markdown)
    (own.folder() / birds.id / file).write_bytes(b"[")
    app = open_page("models")
    assert not app.exception and str(own.folder()) not in texts(app, "error")
    assert len(app.markdown) >= whole - 6  # all but their card
    assert find_entry("cifar-cnn-s0").name in texts(app, "markdown")


def test_the_title_of_a_job_has_the_name_that_its_images_have_now(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "owner", lambda: "ann")
    place = folder(tmp_path / "birds", two_classes(20))
    for label in ("birds", "fish"):
        images = add_images(ledger, place, "ann", label=label)
        request = TrainRequest("mlp", {"widths": [8]}, images.id, fingerprint(images.id, None))
        job = ledger.submit(request, "ann")
        assert label in state.find_job(job.id).title
        ledger.cancel(job.id, "ann")
        own.remove_own(images.id, "ann")
