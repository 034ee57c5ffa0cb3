"""How an interrupted training is resumed: to the same bytes, and never from a state that is damaged or another's."""

import random
from collections import Counter

import pytest
import torch

from merging.errors import Cancelled, InvalidSetting
from merging.zoo.datasets import load as datasets
from merging.zoo.training.train import train

MLP = {"widths": [16]}
BN = {"widths": [4, 8], "norm": "batch"}


@pytest.fixture
def pair():
    return datasets.load_split("fashion-mnist", "train", 256), datasets.load_split("fashion-mnist", "test", 128)


def stop_in_epoch_2(stage, fraction, message):
    if message.startswith("epoch 2"):
        raise Cancelled("enough")


@pytest.mark.parametrize(
    "architecture, config, options",
    [
        ("mlp", MLP, {}),
        ("cnn", BN, {"optimiser": "sgd", "schedule": "cosine", "warmup": 0.2, "lr": 0.05, "augment": "flip-crop"}),
    ],
)
def test_a_resumed_training_gives_the_same_bytes(pair, architecture, config, options, tmp_path):
    file = tmp_path / "state"
    shared = {"epochs": 4, "batch": 64, "keep": (1, 3), **options}
    whole = train(architecture, config, pair, **shared)
    with pytest.raises(Cancelled):
        train(architecture, config, pair, resume=file, report=stop_in_epoch_2, **shared)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    seen = []
    resumed = train(architecture, config, pair, resume=file, report=lambda *said: seen.append(said[2]), **shared)
    assert seen[0].startswith("epoch 2 of 4")
    # What was trained, but not written yet, is not trained again.
    again = train(architecture, config, pair, resume=file, report=stop_in_epoch_2, **shared)
    assert again.history == whole.history and again.metrics == whole.metrics
    assert resumed.history == whole.history
    assert resumed.kept.keys() == whole.kept.keys() == {1, 3}
    pairs = [
        (whole.module.state_dict(), resumed.module.state_dict()),
        *zip(whole.kept.values(), resumed.kept.values(), strict=True),
    ]
    for one, other in pairs:
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_tensors_after_an_epoch_are_those_of_the_training_at_that_epoch(pair):
    settings = {"batch": 64, "schedule": "constant"}
    kept = train("mlp", MLP, pair, epochs=3, keep=(2,), **settings).kept[2]
    shorter = train("mlp", MLP, pair, epochs=2, **settings).module.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in shorter.items())


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half an archive"])
def test_a_damaged_state_is_refused_in_words(pair, tmp_path, content):
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(InvalidSetting, match="is damaged"):
        train("mlp", MLP, pair, epochs=1, resume=tmp_path / "state")


def test_no_bit_of_a_state_can_flip_unseen(pair, tmp_path):
    """Every flip is refused, or changes nothing that is read (the archive has places that nothing is read from)."""
    options, file = {"epochs": 2, "seed": 0, "resume": tmp_path / "state"}, tmp_path / "state"

    with pytest.raises(Cancelled):
        train("mlp", MLP, pair, **options, report=stop_in_epoch_2)
    whole, found = file.read_bytes(), Counter[str]()
    weights = train("mlp", MLP, pair, **options).module.state_dict()
    draws = random.Random(0)
    for _ in range(60):
        data = bytearray(whole)
        data[draws.randrange(len(data))] ^= 1 << draws.randrange(8)
        file.write_bytes(data)
        try:
            again = train("mlp", MLP, pair, **options).module.state_dict()
            assert all(torch.equal(value, again[name]) for name, value in weights.items())
            found["no effect"] += 1
        except InvalidSetting:
            found["refused"] += 1
    assert found["refused"] > found["no effect"]


def test_a_state_without_what_belongs_in_it_is_refused_in_words(pair, tmp_path):
    with pytest.raises(Cancelled):
        train("mlp", MLP, pair, epochs=2, resume=tmp_path / "state", report=stop_in_epoch_2)
    saved = torch.load(tmp_path / "state")
    for change in ({"random": None}, {"optimiser": [1]}, {"module": {}}, {"history": 3}, {"schedule": "x"}):
        torch.save({**saved, **change}, tmp_path / "state")
        with pytest.raises(InvalidSetting, match="is no state of a training"):
            train("mlp", MLP, pair, epochs=2, resume=tmp_path / "state")


@pytest.mark.parametrize("content", [[1, 2], torch.ones(2), {"module": 1}])
def test_a_file_of_something_else_is_refused_in_words(pair, tmp_path, content):
    torch.save(content, tmp_path / "state")
    with pytest.raises(InvalidSetting, match="written by another training"):
        train("mlp", MLP, pair, epochs=1, resume=tmp_path / "state")


def test_the_state_of_another_training_is_refused(pair, tmp_path):
    with pytest.raises(Cancelled):
        train("mlp", MLP, pair, epochs=2, seed=0, resume=tmp_path / "state", report=stop_in_epoch_2)
    start = train("mlp", MLP, pair, epochs=1, seed=5).module.state_dict()
    for other in ({"seed": 1}, {"keep": (1,)}, {"start": start}, {"lr": 0.1}):
        with pytest.raises(InvalidSetting, match="written by another training"):
            train("mlp", MLP, pair, **{"epochs": 2, "seed": 0, **other}, resume=tmp_path / "state")
