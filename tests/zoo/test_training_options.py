"""Options of a training: optimisers and schedules by their formulas, splits, label noise, and how it is resumed."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from merging.errors import Cancelled, InvalidSetting
from merging.zoo.datasets import load as datasets
from merging.zoo.datasets.image_set import ImageSet
from merging.zoo.training.augment import AUGMENTATIONS
from merging.zoo.training.options import AUGMENTS, SPLITS, TrainingOptions
from merging.zoo.training.settings import TrainingSettings
from merging.zoo.training.state import factor_of
from merging.zoo.training.subsets import divided_images, noisy_labels, split_rows
from merging.zoo.training.train import train

MLP = {"widths": [16]}
BN = {"widths": [4, 8], "norm": "batch"}


@pytest.fixture
def pair():
    return datasets.load_split("fashion-mnist", "train", 256), datasets.load_split("fashion-mnist", "test", 128)


def images(count: int, classes: int = 10, seed: int = 0) -> ImageSet:
    labels = np.random.default_rng(seed).integers(0, classes, count)
    pixels = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return ImageSet("x", "train", pixels, labels, tuple(map(str, range(classes))), True)


def test_the_declared_choices_are_those_that_exist():
    assert tuple(AUGMENTATIONS) == AUGMENTS
    for split in SPLITS:
        TrainingSettings(split=split)


def stochastic_gradient_descent(tensors, gradients, velocity):
    for name, gradient in gradients.items():
        velocity[name] = 0.8 * velocity.get(name, 0) + gradient + 0.01 * tensors[name]
        tensors[name] = tensors[name] - 0.1 * velocity[name]


def test_gradient_descent_with_momentum_is_its_formula(pair):
    options = {"optimiser": "sgd", "schedule": "constant", "lr": 0.1, "momentum": 0.8, "weight_decay": 0.01}
    trained = train("mlp", MLP, pair, epochs=3, batch=256, keep=(0, 1, 2, 3), **options)
    module, velocity = trained.module, {}
    tensors = dict(trained.kept[0])
    inputs, labels = torch.from_numpy(pair[0].images).float() / 255, torch.from_numpy(pair[0].labels)
    for epoch in range(1, 4):  # one step per epoch, on all images
        module.load_state_dict(tensors)
        gradients = torch.autograd.grad(cross_entropy(module(inputs), labels), list(module.parameters()))
        stochastic_gradient_descent(
            tensors, dict(zip(dict(module.named_parameters()), gradients, strict=True)), velocity
        )
        for name, value in trained.kept[epoch].items():
            torch.testing.assert_close(value, tensors[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("kind", "config"), [("mlp", {"widths": [16, 12]}), ("cnn", BN)])
def test_adapters_change_each_weight_by_a_matrix_of_low_rank_and_nothing_else(pair, kind, config):
    first = train(kind, config, pair, epochs=1, batch=64).module.state_dict()
    options = {"start": first, "lora": 2, "optimiser": "sgd", "lr": 0.05, "schedule": "constant", "batch": 64}
    trained = train(kind, config, pair, epochs=2, keep=(0, 1), **options)
    tensors = trained.module.state_dict()
    assert tensors.keys() == first.keys() == trained.kept[1].keys()
    ranks = {}
    for name, value in tensors.items():
        if value.dim() > 1:
            ranks[name] = int(torch.linalg.matrix_rank((value - first[name]).flatten(1), rtol=1e-3))
        elif "running" not in name and "num_batches" not in name:
            assert torch.equal(value, first[name]), name
    assert set(ranks.values()) == {2}
    assert all(torch.equal(value, first[name]) for name, value in trained.kept[0].items())
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]


def test_adapters_need_a_network_and_are_resumed_to_the_same_bytes(pair, tmp_path):
    with pytest.raises(InvalidSetting, match="trained already"):
        train("mlp", MLP, pair, epochs=1, lora=2)
    options = {"start": train("mlp", MLP, pair, epochs=1).module.state_dict(), "lora": 2, "batch": 64, "epochs": 2}

    def stop(stage, fraction, message):
        if message.startswith("epoch 2"):
            raise Cancelled

    with pytest.raises(Cancelled):
        train("mlp", MLP, pair, resume=tmp_path / "state", report=stop, **options)
    whole, resumed = (
        train("mlp", MLP, pair, **options, **more).module for more in ({}, {"resume": tmp_path / "state"})
    )
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_schedules_rise_linearly_and_fall_along_half_a_cosine():
    cosine, constant = (factor_of(name, 10, 110) for name in ("cosine", "constant"))
    assert [cosine(step) for step in range(10)] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert [cosine(step) for step in (10, 60, 110)] == pytest.approx([1, 0.5, 0])
    assert cosine(35) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert {constant(step) for step in range(10, 110)} == {1.0}
    assert factor_of("cosine", 0, 4)(0) == 1


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
def test_every_optimiser_and_schedule_learns(pair, optimiser, schedule):
    options = {"optimiser": optimiser, "schedule": schedule, "lr": 0.1 if optimiser == "sgd" else 5e-3}
    history = train("mlp", MLP, pair, epochs=4, batch=32, warmup=0.1, **options).history
    assert history[-1]["train_loss"] < 0.75 * history[0]["train_loss"]


@given(
    st.integers(2, 300),
    st.integers(1, 12),
    st.sampled_from(SPLITS[1:]),
    st.integers(0, 1000),
    st.floats(0.01, 100),
)
def test_the_parts_of_a_split_are_disjoint_and_complete(count, classes, split, seed, alpha):
    labels = np.random.default_rng(seed).integers(0, classes, count)
    options = TrainingOptions(split=split, split_seed=seed, alpha=alpha)
    first, second = split_rows(labels, classes, options)
    assert sorted([*first, *second]) == list(range(count))
    again = split_rows(labels, classes, options)
    assert all(np.array_equal(one, other) for one, other in zip((first, second), again, strict=True))


def test_splits_give_each_class_the_share_that_they_say():
    whole = images(5_000)

    def shares(part: int, **options) -> np.ndarray:
        chosen = divided_images(whole, TrainingOptions(part=part, **options))
        return np.bincount(chosen.labels, minlength=10) / np.bincount(whole.labels, minlength=10)

    assert shares(0, split="80-20") == pytest.approx([0.8] * 5 + [0.2] * 5, abs=0.01)
    assert shares(1, split="80-20") == pytest.approx([0.2] * 5 + [0.8] * 5, abs=0.01)
    assert shares(0, split="disjoint").tolist() == [1] * 5 + [0] * 5
    assert shares(0, split="halves") == pytest.approx([0.5] * 10, abs=0.07)
    even, skewed = (np.abs(shares(0, split="dirichlet", alpha=alpha) - 0.5).mean() for alpha in (100.0, 0.1))
    assert even < 0.1 < 0.35 < skewed


@given(st.floats(0.001, 1), st.floats(0.001, 1), st.integers(0, 50))
def test_a_smaller_share_is_a_part_of_a_larger_one(one, other, seed):
    whole = images(200)
    small, large = (
        divided_images(whole, TrainingOptions(share=share, split_seed=seed)) for share in sorted((one, other))
    )
    assert set(small.images.ravel()) <= set(large.images.ravel())
    assert len(large) == max(1, round(max(one, other) * 200))


@given(st.floats(0, 1), st.integers(2, 10), st.integers(0, 100))
def test_label_noise_changes_exactly_its_share_to_other_classes(noise, classes, seed):
    whole = images(300, classes)
    noisy = noisy_labels(whole, noise, seed)
    assert (noisy != whole.labels).sum() == round(noise * 300)
    assert noisy.min() >= 0 and noisy.max() < classes


def test_the_number_of_images_is_that_of_the_part_that_was_learned(pair):
    trained = train("mlp", MLP, pair, epochs=1, batch=16, split="halves", share=0.25)
    assert trained.images == 32


def test_label_noise_spares_the_test_images_and_the_caller(pair):
    before = pair[0].labels.copy()
    train("mlp", MLP, pair, epochs=1, batch=64, label_noise=1.0)
    assert np.array_equal(pair[0].labels, before)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"optimiser": "lion"}, "adamw, adam, sgd"),
        ({"lr": -1.0}, "lr is -1"),
        ({"share": 0.0}, "share is 0"),
        ({"split": "thirds"}, "none, halves"),
        ({"momentum": 1.0}, "momentum is 1"),
        ({"batch": 1}, "batch >= 2"),
        ({"label_noise": math.nan}, "label_noise is nan"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(InvalidSetting, match=words):
        train("mlp", MLP, "cifar-10", **options)
