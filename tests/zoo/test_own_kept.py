"""Data sets of own images that are kept: whose they are, who may use them, what stays when one person deletes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from merging.errors import DataUnavailable, InvalidRequest, InvalidSetting
from merging.zoo.datasets import own
from merging.zoo.datasets.claims import ImageClaim, claim_file
from merging.zoo.datasets.convert import convert_images
from merging.zoo.datasets.facts import FACTS
from merging.zoo.datasets.fingerprint import fingerprint, load_splits
from merging.zoo.datasets.known import dataset_label, facts, find_facts, is_dataset_name, known_datasets, may_use
from merging.zoo.datasets.load import available, download, load_split, training_images
from tests.zoo.image_files import folder, two_classes

GONE = "own-000000000000"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Two data sets as they were read, to be kept by copies."""
    place = tmp_path_factory.mktemp("read")
    datasets = {}
    for name, count in (("birds", 10), ("fish", 12)):
        datasets[name] = convert_images(folder(place / name, two_classes(count)), place / f"{name} read", label=name)
    return place, datasets


@pytest.fixture
def keep(home, read):
    """Call it with a name, an owner and whether all may use them: the kept data set."""
    place, datasets = read

    def kept(name: str, owner: str, *, shared: bool = False, label: str = "", created: float = 1.0):
        copy = home / f"copy-{name}-{owner}"
        copy.mkdir()
        for file in (place / f"{name} read" / datasets[name].id).iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        return own.keep_own(copy, ImageClaim(owner, label or name, shared, created))

    return kept


def test_a_kept_data_set_is_known_like_a_built_in_one(keep):
    birds = keep("birds", "ann")
    assert facts(birds.id) == find_facts(birds.id) == birds.facts
    assert (dataset_label(birds.id), available(birds.id), training_images(birds.id)) == ("birds", "own", 8)
    train = load_split(birds.id, "train")
    assert (train.classes, train.facts, train.complete, len(train)) == (("ant", "bee"), birds.facts, True, 8)
    assert len(load_split(birds.id, "train", 3)) == 3 and not load_split(birds.id, "train", 3).complete
    assert fingerprint(birds.id, None) == fingerprint(birds.id, 1000)
    splits = load_splits(birds.id, None)
    assert {split: one.sha256 for split, one in splits.items()} == birds.sha256
    assert fingerprint(birds.id, 2) not in ("", fingerprint(birds.id, None))


def test_private_images_are_their_owners_and_shared_ones_everybodys(keep):
    birds, fish = keep("birds", "ann"), keep("fish", "bob", shared=True, created=2.0)
    assert list(known_datasets("ann")) == [*FACTS, fish.id, birds.id]
    assert list(known_datasets("eve")) == [*FACTS, fish.id]
    assert [may_use(birds.id, who) for who in ("ann", "bob", "")] == [True, False, False]
    assert all(may_use(fish.id, who) for who in ("ann", "bob", "eve")) and may_use("mnist", "eve")
    own.share_own(birds.id, "ann", True)
    assert may_use(birds.id, "eve")
    with pytest.raises(InvalidRequest, match="no images"):
        own.share_own(fish.id, "ann", False)


def test_two_people_with_the_same_images_each_delete_their_own(keep):
    keep("birds", "ann", label="my birds")
    birds = keep("birds", "bob", shared=True, label="vögel", created=2.0)
    assert [claim.owner for claim in birds.claims] == ["ann", "bob"]
    assert known_datasets("ann")[birds.id].label == "my birds"
    assert known_datasets("eve")[birds.id].label == dataset_label(birds.id) == "vögel"
    own.remove_own(birds.id, "bob")
    assert not may_use(birds.id, "eve") and may_use(birds.id, "ann")
    with pytest.raises(InvalidRequest, match="no images"):
        own.remove_own(birds.id, "bob")
    own.remove_own(birds.id, "ann")
    assert find_facts(birds.id) is None and list(own.folder().iterdir()) == []


def test_deleted_images_are_gone_in_words(home):
    assert is_dataset_name(GONE) and not is_dataset_name("imagenet") and not is_dataset_name("")
    assert available(GONE) is None and fingerprint(GONE, 10) == "" and load_splits(GONE, 10) == {}
    assert (
        dataset_label(GONE) == f"own images that are not on this machine ({GONE})" and dataset_label("imagenet") == ""
    )
    assert not may_use(GONE, "ann")
    for call in (lambda: load_split(GONE, "train"), lambda: own.sample_images(GONE, 3)):
        with pytest.raises(DataUnavailable, match="were deleted, or are on another machine"):
            call()
    with pytest.raises(InvalidSetting, match="were deleted"):
        facts(GONE)


def test_an_id_is_no_path(home):
    (home / "secret").mkdir()
    (home / "secret" / "facts.json").write_text("{}")
    for name in ("../secret", "own-../../secret", "own-000000000000/../x", ""):
        assert find_facts(name) is None
        with pytest.raises(InvalidSetting, match="no data set is called"):
            load_split(name, "train")


def test_own_images_are_not_downloaded(keep):
    with pytest.raises(InvalidSetting, match="nothing to download"):
        download(keep("birds", "ann").id)


def test_damaged_files_are_refused_in_words(keep):
    birds = keep("birds", "ann")
    place = own.folder() / birds.id
    np.save(place / "train-images.npy", np.zeros((8, 3, 4, 4), np.uint8))
    for read in (lambda: load_split(birds.id, "train"), lambda: own.sample_images(birds.id, 4)):
        with pytest.raises(DataUnavailable, match=r"train.* damaged or missing\. Bring these images again"):
            read()
    (place / "test-labels.npy").write_bytes(b"x")
    with pytest.raises(DataUnavailable, match="damaged or missing") as refusal:
        load_split(birds.id, "test")
    assert str(own.folder()) not in str(refusal.value)
    (place / "facts.json").write_text("{")
    with pytest.raises(DataUnavailable, match="facts of own-"):
        own.find_own(birds.id)
    assert find_facts(birds.id) is None and "not on this machine" in dataset_label(birds.id, "ann")
    assert own.own_datasets("ann") == ()  # one damaged folder does not take the others' menus away


@pytest.mark.parametrize("change", [lambda file: file.write_bytes(b"x"), lambda file: file.unlink()])
@pytest.mark.parametrize("file", ["train-images.npy", "train-labels.npy", "test-images.npy", "test-labels.npy"])
def test_a_sample_of_damaged_images_is_refused_and_bringing_them_again_mends_them(keep, file, change):
    birds = keep("birds", "ann")
    whole = [load_split(birds.id, split).sha256 for split in ("train", "test")]
    change(own.folder() / birds.id / file)
    if file.startswith("train"):
        with pytest.raises(DataUnavailable, match=f"{birds.id}: the file {file} is damaged or missing"):
            own.sample_images(birds.id, 4)
    keep("birds", "bob")
    assert [load_split(birds.id, split).sha256 for split in ("train", "test")] == whole
    assert len(own.sample_images(birds.id, 4)) == 4
    assert {claim.owner for claim in own.find_own(birds.id).claims} == {"ann", "bob"}


@pytest.mark.parametrize("damaged", ["facts", "claim"])
def test_damaged_facts_and_claims_are_mended_when_the_images_are_brought_again(keep, damaged):
    birds = keep("birds", "ann")
    place = own.folder() / birds.id
    (place / "facts.json" if damaged == "facts" else claim_file(place, "ann")).write_text("[")
    assert own.find_intact(birds.id) is None
    keep("birds", "bob")
    found = own.find_own(birds.id)
    assert found.sha256 == birds.sha256
    assert {claim.owner for claim in found.claims} == ({"ann", "bob"} if damaged == "facts" else {"bob"})


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("claim", {"created": None}),
        ("claim", {"shared": "no"}),
        ("claim", {"label": 5}),
        ("claim", None),
        ("facts", {"shape": [1e400, 4, 4]}),
        ("facts", {"classes": ["ant", 7]}),
        ("facts", None),
    ],
)
def test_a_damaged_claim_or_fact_leaves_out_that_data_set_alone(keep, file, change):
    fish, birds = keep("fish", "ann"), keep("birds", "ann")
    keep("birds", "bob", shared=True)
    place = own.folder() / birds.id
    path = claim_file(place, "ann") if file == "claim" else place / "facts.json"
    values = json.loads(path.read_text())
    path.write_text("[" * 100_000 if change is None else json.dumps(values | change))
    for person in ("ann", "bob"):
        assert [one.id for one in own.own_datasets(person)] == [fish.id] * (person == "ann")


def test_images_are_never_without_a_claim_when_the_disk_fails(keep, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(own, "write_claim", full)
        with pytest.raises(OSError, match="No space"):
            keep("birds", "ann")
    assert not list(own.folder().glob("own-*"))
    fish = keep("fish", "ann")
    with monkeypatch.context() as broken:
        broken.setattr(own.Path, "rename", full)
        with pytest.raises(OSError, match="No space"):
            own.remove_own(fish.id, "ann")
    assert not own.own_datasets("bob") and [one.id for one in own.own_datasets("ann")] == [fish.id]


def test_other_images_under_a_known_id_are_refused(keep, home):
    birds = keep("birds", "ann")
    raw = json.loads((own.folder() / birds.id / "facts.json").read_text())
    other = folder(home / "other", {})
    other.mkdir()
    (other / "facts.json").write_text(json.dumps(raw | {"sha256": {"train": "0", "test": "1"}}))
    with pytest.raises(InvalidRequest, match="Different images with the id"):
        own.keep_own(other, ImageClaim("bob", "x", False, 1.0))
    assert own.find_own(birds.id).sha256 == birds.sha256


def test_a_sample_has_every_class(keep):
    sample = own.sample_images(keep("fish", "ann").id, 4)
    assert sample.labels.tolist() == [0, 0, 1, 1]
    every = load_split(sample.name, "train")
    for image, label in zip(sample.images, sample.labels, strict=True):
        assert label in every.labels[[np.array_equal(image, other) for other in every.images]]


def test_images_beside_the_kept_ones_last_as_long_as_their_context(home, read):
    place, datasets = read
    id = datasets["birds"].id
    assert find_facts(id) is None
    with own.with_folder(place / "birds read"):
        assert dataset_label(id) == "birds" and may_use(id, "anybody") and own.own_datasets("ann") == ()
    assert find_facts(id) is None
