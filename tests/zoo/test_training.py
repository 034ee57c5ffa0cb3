"""Training: the same bytes for the same seed, shared beginnings, cancelling; and the shipped zoo is what it says."""

import hashlib
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from merging.errors import Cancelled, DataUnavailable, InvalidSetting
from merging.paths import ROOT
from merging.zoo.architectures import build
from merging.zoo.datasets import load as datasets
from merging.zoo.training.augment import AUGMENTATIONS
from merging.zoo.training.recipes import RECIPES
from merging.zoo.training.settings import TrainingSettings
from merging.zoo.training.shipping import shipped_bytes, train_shipped, write_manifest
from merging.zoo.training.train import evaluate_trained, train

ZOO = ROOT / "assets" / "zoo"
MANIFEST = json.loads((ZOO / "manifest.json").read_text("utf-8"))["checkpoints"]
MLP = {"widths": [16]}


@pytest.fixture
def shipped_only(tmp_path, monkeypatch):
    monkeypatch.delenv("MERGESCOPE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def pair(shipped_only):
    return datasets.load_split("fashion-mnist", "train", 512), datasets.load_split("fashion-mnist", "test", 256)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    "architecture, config, options",
    [
        ("mlp", MLP, {}),
        ("cnn", {"widths": [4, 8], "norm": "batch"}, {"augment": "flip-crop", "precision": "bfloat16"}),
    ],
)
def test_the_same_seed_gives_the_same_bytes(pair, architecture, config, options):
    files = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)  # the caller's random state must not matter
        trained = train(architecture, config, pair, epochs=1, seed=seed, batch=64, **options)
        files.append(shipped_bytes(trained, name="net"))
    assert files[0] == files[1]
    assert files[0] != files[2]


CHILD = """
import sys, torch
from pathlib import Path
from merging.zoo.datasets import load as datasets
from merging.zoo.training.train import train
from merging.zoo.training.shipping import shipped_bytes
torch.set_num_threads(1)
pair = datasets.load_split("fashion-mnist", "train", 512), datasets.load_split("fashion-mnist", "test", 256)
trained = train("mlp", {"widths": [16]}, pair, epochs=1, batch=64)
Path(sys.argv[1]).write_bytes(shipped_bytes(trained, name="net"))
"""


def test_another_process_gives_the_same_bytes(shipped_only, tmp_path):
    files = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for path in files:
        subprocess.run([sys.executable, "-c", CHILD, str(path)], check=True, cwd=ROOT)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_training_learns_and_leaves_an_eval_net_on_the_cpu(pair):
    trained = train("mlp", MLP, pair, epochs=6, batch=32, lr=5e-3)
    assert trained.metrics["accuracy"] > 0.6
    assert trained.metrics["loss"] == pytest.approx(evaluate_trained(trained.module, pair[1]).loss)
    assert [entry["epoch"] for entry in trained.history] == [1, 2, 3, 4, 5, 6]
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]
    assert not trained.module.training
    assert trained.config == {"widths": [16], "in_shape": [1, 28, 28], "classes": 10}


def test_a_branch_shares_the_first_epochs_only():
    a, b = (TrainingSettings(epochs=4, branch=(2, branch)) for branch in (101, 102))
    orders = [[settings.order_seed(epoch) for epoch in range(4)] for settings in (a, b)]
    assert orders[0][:2] == orders[1][:2]
    assert orders[0][2] != orders[1][2]
    assert len(set(orders[0])) == 4


def test_two_branches_part_after_the_shared_epochs(pair):
    together, apart = ([train("mlp", MLP, pair, epochs=2, branch=(at, s)).module for s in (1, 2)] for at in (2, 1))
    assert same(*together)
    assert not same(*apart)


def test_training_goes_on_from_given_weights(pair):
    first = train("mlp", MLP, pair, epochs=2, batch=64)
    further = train("mlp", MLP, pair, epochs=1, batch=64, lr=1e-4, start=first.module.state_dict())
    assert further.metrics["train_loss"] < first.metrics["train_loss"]


def test_a_report_can_cancel(pair):
    calls = []

    def report(stage, fraction, message):
        calls.append((stage, fraction, message))
        if len(calls) == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        train("mlp", MLP, pair, epochs=9, batch=16, report=report)
    assert calls[0][0] == "train"
    assert 0 <= calls[0][1] < calls[1][1] < 1
    assert "epoch 1 of 9" in calls[0][2]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"epoch": 3}, "no setting 'epoch'"),
        ({"epochs": 0}, "epochs >= 1"),
        ({"augment": "mixup"}, "augment is 'mixup'; it must be one of"),
        ({"precision": "int8"}, "float32 or bfloat16"),
    ],
)
def test_wrong_options_are_refused_before_any_work(options, words):
    with pytest.raises(InvalidSetting, match=words):
        train("mlp", MLP, "cifar-10", **options)


def test_an_unknown_shipped_checkpoint_is_refused(tmp_path):
    with pytest.raises(InvalidSetting, match="fashion-mlp-512-s0"):
        train_shipped(["fashion-mlp-9000"], tmp_path)


def test_a_shipped_net_is_not_trained_on_the_shipped_part(shipped_only, tmp_path):
    with pytest.raises(DataUnavailable, match="download fashion-mnist"):
        train_shipped(["fashion-mlp-128-s0"], tmp_path)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_keeps_shape_and_type(name):
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    changed = AUGMENTATIONS[name](images, torch.Generator().manual_seed(0))
    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8


def test_a_crop_moves_each_image_by_itself():
    images = torch.zeros(64, 1, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 4] = 255
    moved = AUGMENTATIONS["flip-crop"](images, torch.Generator().manual_seed(0))
    assert (moved.sum((1, 2, 3)) == 255).all()
    assert len({int(row) for row in moved.flatten(1).argmax(1)}) > 20


def test_a_flip_mirrors_about_half():
    images = torch.arange(6, dtype=torch.uint8).expand(1000, 1, 2, 6)
    flipped = AUGMENTATIONS["flip"](images, torch.Generator().manual_seed(0))[:, 0, 0, 0] == 5
    assert 400 < int(flipped.sum()) < 600


def test_every_recipe_is_shipped_and_can_be_built():
    assert [entry["id"] for entry in MANIFEST] == [recipe.id for recipe in RECIPES]
    for recipe in RECIPES:
        build(recipe.architecture, recipe.config)
        TrainingSettings(**recipe.options)


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda entry: entry["id"])
def test_the_manifest_agrees_with_the_file(entry):
    content = (ZOO / entry["file"]).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
    with safe_open(ZOO / entry["file"], framework="pt") as file:
        story = json.loads(file.metadata()["mergescope"])
    for key in ("name", "architecture", "config", "dataset", "classes", "mean", "std", "seed", "epochs"):
        assert story[key] == entry[key]
    net = build(entry["architecture"], entry["config"], entry["mean"], entry["std"])
    net.load_state_dict(load_file(ZOO / entry["file"]))
    assert sum(parameter.numel() for parameter in net.parameters()) == entry["parameters"]
    floor = (
        {"mlp": 0.88, "adaptive": 0.88, "cnn": 0.91, "resnet": 0.91}
        if entry["dataset"] == "fashion-mnist"
        else {"cnn": 0.80}
    )
    small = {"fashion-small": 0.88, "fashion-experts": 0.8, "fashion-split": 0.8, "fashion-heads": 0.9}
    small["fashion-small-base"] = 0.8  # one epoch
    assert entry["accuracy"] >= small.get(entry["id"], small.get(entry["pair"], floor[entry["architecture"]]))


def test_experts_know_what_they_learned_and_are_near_the_base_they_name():
    by_id = {entry["id"]: entry for entry in MANIFEST}
    weights = {name: load_file(ZOO / by_id[name]["file"]) for name in by_id if name.startswith("fashion-")}
    experts = [entry for entry in MANIFEST if entry.get("base")]
    assert len(experts) == 3
    for entry in experts:
        own, base, other = weights[entry["id"]], weights[entry["base"]], weights["fashion-small-s1"]
        near, far = (sum(float((own[k] - net[k]).square().sum()) for k in own) for net in (base, other))
        assert 0 < near < 0.5 * far
    facts = by_id["fashion-expert-low"]
    low = build("cnn", facts["config"], facts["mean"], facts["std"])
    low.load_state_dict(weights["fashion-expert-low"])
    images = datasets.load_split("fashion-mnist", "test", 1000)
    known = images.labels < 5
    with torch.no_grad():
        guess = low(torch.tensor(images.images) / 255).argmax(1).numpy()
    assert (guess[known] == images.labels[known]).mean() > 0.8
    assert (guess[~known] == images.labels[~known]).mean() < 0.4


@pytest.mark.parametrize("name", ["fashion-mlp-128-s0", "fashion-mlp-512-s1", "fashion-cnn-s0"])
def test_the_stated_accuracy_is_measured_again(name, shipped_only):
    entry = next(entry for entry in MANIFEST if entry["id"] == name)
    net = build(entry["architecture"], entry["config"], entry["mean"], entry["std"])
    net.load_state_dict(load_file(ZOO / entry["file"]))
    score = evaluate_trained(net, datasets.load_split("fashion-mnist", "test"))
    assert score.accuracy == pytest.approx(entry["accuracy"], abs=1e-4)
    assert score.loss == pytest.approx(entry["loss"], abs=1e-4)


def test_the_manifest_is_made_from_the_files_alone(tmp_path):
    assert json.loads(write_manifest(tmp_path).read_text("utf-8")) == {"format": 1, "checkpoints": []}
    for path in ZOO.glob("*.safetensors"):
        (tmp_path / path.name).symlink_to(path)
    assert write_manifest(tmp_path).read_text("utf-8") == (ZOO / "manifest.json").read_text("utf-8")


def test_the_shared_pair_is_nearer_than_two_seeds():
    weights = {
        name: np.concatenate([value.flatten().numpy() for value in load_file(ZOO / f"{name}.safetensors").values()])
        for name in ("fashion-cnn-shared-a", "fashion-cnn-shared-b", "fashion-cnn-s1")
    }
    a, b, other = weights.values()
    assert 0 < np.linalg.norm(a - b) < 0.7 * np.linalg.norm(a - other)


def test_the_shipped_files_stay_small():
    shipped = [path for folder in (ZOO, datasets.IMAGES) for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in shipped) <= 60e6


def test_answers_that_are_not_numbers_are_wrong():
    images = datasets.load_split("fashion-mnist", "test", 100)
    score = evaluate_trained(torch.nn.Sequential(torch.nn.Flatten(), Nothing()), images)
    assert score.accuracy == 0.0 and math.isnan(score.loss)


class Nothing(torch.nn.Module):
    def forward(self, x):
        return torch.full((len(x), 10), torch.nan)
