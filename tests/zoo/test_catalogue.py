"""The catalogue: what is shipped is what the manifest says, and who may be merged with whom."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from merging.errors import CheckpointError
from merging.methods.registry import find as find_method
from merging.zoo import catalogue
from merging.zoo.architectures.names import NAMES
from merging.zoo.datasets.facts import FACTS


@pytest.fixture(scope="module")
def mlps() -> tuple[catalogue.Entry, catalogue.Entry]:
    return catalogue.find_entry("fashion-mlp-128-s0"), catalogue.find_entry("fashion-mlp-128-s1")


def test_every_shipped_file_is_the_one_the_manifest_names():
    entries = catalogue.shipped()
    assert len({entry.id for entry in entries}) == len(entries) > 0
    for entry in entries:
        path = catalogue.shipped_file(entry.sha256)
        data = path.read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (entry.sha256, entry.bytes), entry.id
        assert entry.architecture in NAMES
        assert entry.dataset in FACTS
        assert len(entry.classes) == entry.config["classes"]
        assert 0.5 < entry.accuracy < 1, "a shipped net has learnt something"


def test_unknown_content_has_no_file():
    assert catalogue.shipped_file("0" * 64) is None


def test_an_unknown_id_lists_the_known_ones():
    with pytest.raises(CheckpointError, match="fashion-mlp-512-s0"):
        catalogue.find_entry("fashion")


def test_presets_name_three_pairs_that_can_be_merged_by_known_methods():
    cards = catalogue.presets()
    assert [card.key for card in cards] == ["mlps", "cnns", "batch-norm"]
    for card in cards:
        assert catalogue.why_not_together(catalogue.find_entry(card.a), catalogue.find_entry(card.b)) == ""
        for role in ("align", "combine", "correct"):
            assert find_method(role, getattr(card, role)).key == getattr(card, role)


def test_two_seeds_are_compatible_both_ways(mlps):
    a, b = mlps
    assert catalogue.why_not_together(a, b) == catalogue.why_not_together(b, a) == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architecture": "cnn", "label": "Plain CNN"}, "A is MLP 3×128 and B is Plain CNN"),
        ({"config": {"in_shape": [1, 28, 28], "classes": 10, "widths": [512]}}, "widths: 128-128-128 and 512"),
        ({"config": {"in_shape": [3, 32, 32], "classes": 10, "widths": [128] * 3}}, "image shape: 1-28-28 and 3-32-32"),
        (
            {"config": {"in_shape": [1, 28, 28], "classes": 10, "widths": [128] * 3, "nonlinearity": "gelu"}},
            "A uses ReLU as its nonlinearity and B uses GELU",
        ),
        ({"parameters": 5}, "134,794 parameters and B has 5"),
        ({"dataset": "mnist"}, "trained on Fashion-MNIST and B on MNIST"),
        ({"dataset": "", "classes": tuple("abcdefghij")}, "classes differently"),
        ({"dataset": "", "mean": (0.5,)}, "different normalisation"),
    ],
)
def test_a_pair_that_cannot_be_merged_says_why(mlps, changes, reason):
    a, b = mlps
    assert reason in catalogue.why_not_together(a, replace(b, **changes))


def test_an_unknown_data_set_does_not_forbid_a_merge(mlps):
    a, b = mlps
    assert catalogue.why_not_together(a, replace(b, dataset="", classes=())) == ""


def test_the_same_file_twice_is_refused(mlps):
    assert "same file" in catalogue.why_not_together(mlps[0], mlps[0])


@pytest.fixture
def copied(tmp_path, monkeypatch):
    shutil.copy(catalogue.FOLDER / "manifest.json", tmp_path)
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    return tmp_path / "manifest.json"


@pytest.mark.parametrize("text", ["", "{}", '{"checkpoints": [{"id": "a"}]}', '{"checkpoints": 3}', "[1]"])
def test_a_damaged_manifest_is_one_error_with_a_remedy(copied, text):
    copied.write_text(text)
    with pytest.raises(CheckpointError, match=r"damaged.*python -m merging train"):
        catalogue.shipped()


def test_a_missing_manifest_is_one_error(copied):
    copied.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        catalogue.shipped()


def test_a_manifest_cannot_lead_out_of_its_folder(copied):
    listed = json.loads(copied.read_text())
    listed["checkpoints"][0]["file"] = "../../../../etc/passwd"
    copied.write_text(json.dumps(listed))
    path = catalogue.shipped_file(listed["checkpoints"][0]["sha256"])
    assert path == copied.parent / "passwd"
