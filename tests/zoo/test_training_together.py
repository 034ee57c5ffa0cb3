"""Networks that are trained together have the bytes of networks that are trained alone; what cannot be is refused."""

from __future__ import annotations

import pytest
import torch

from merging.errors import Cancelled, InvalidSetting
from merging.zoo.datasets import load as datasets
from merging.zoo.training.together import ManyLinear, stacked, train_together
from merging.zoo.training.train import TrainedModel, train

MLP = {"widths": [20, 12]}
SGD = {"optimiser": "sgd", "lr": 0.05}
SEEDS = (3, 0, 7)


@pytest.fixture
def pair(tmp_path, monkeypatch):
    monkeypatch.delenv("MERGESCOPE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return datasets.load_split("fashion-mnist", "train", 320), datasets.load_split("fashion-mnist", "test", 64)


def check_same(one: TrainedModel, other: TrainedModel) -> None:
    assert one.history == other.history
    assert one.metrics == other.metrics
    assert one.options == other.options
    assert (one.config, one.classes, one.images) == (other.config, other.classes, other.images)
    assert one.kept.keys() == other.kept.keys()
    states = [(one.module.state_dict(), other.module.state_dict())]
    for first, second in states + [(one.kept[epoch], other.kept[epoch]) for epoch in one.kept]:
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "config, options",
    [
        (MLP, {"batch": 64, **SGD}),
        (MLP, {"batch": 48, **SGD, "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.2}),
        ({"widths": [128, 128, 128]}, {"batch": 64, **SGD}),
        ({"widths": [5]}, {"batch": 50, "optimiser": "adam", "lr": 0.01, "schedule": "constant"}),
        ({"widths": [33]}, {"augment": "flip-crop"}),
        ({"widths": [9], "nonlinearity": "gelu"}, {"augment": "flip", "label_noise": 0.3}),
        (MLP, {"share": 0.5, "split": "halves", "part": 1, "batch": 32, "branch": (1, 101)}),
    ],
)
def test_each_network_has_the_bytes_that_it_has_alone(pair, config, options):
    together = train_together("mlp", config, pair, SEEDS, epochs=2, keep=(0, 1), **options)
    assert [one.settings.seed for one in together] == list(SEEDS)
    for seed, one in zip(SEEDS, together, strict=True):
        assert not one.module.training
        check_same(one, train("mlp", config, pair, epochs=2, keep=(0, 1), seed=seed, **options))


def test_the_bytes_do_not_depend_on_the_other_networks(pair):
    few = train_together("mlp", MLP, pair, (7,), epochs=1, batch=64)
    many = train_together("mlp", MLP, pair, (7, 1, 2, 4, 5), epochs=1, batch=64)
    check_same(few[0], many[0])


def test_many_linear_layers_have_the_gradients_of_single_ones():
    generator = torch.Generator().manual_seed(0)
    shapes = (3, 6, 5), (3, 4, 5), (3, 4), (3, 6, 4)
    x, weight, bias, outer = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    leaves = [one.requires_grad_() for one in (x, weight, bias)]
    assert torch.autograd.gradcheck(ManyLinear.apply, leaves)
    given = torch.autograd.grad(ManyLinear.apply(*leaves), leaves, outer)
    for number in range(3):
        own = [one.detach()[number].clone().requires_grad_() for one in leaves]
        alone = torch.autograd.grad(torch.nn.functional.linear(*own), own, outer[number])
        assert all(torch.equal(one[number], other) for one, other in zip(given, alone, strict=True))


def test_the_networks_that_are_stacked_do_not_change(pair):
    modules = [train("mlp", MLP, pair, epochs=1, seed=seed).module for seed in SEEDS]
    before = [{name: value.clone() for name, value in module.state_dict().items()} for module in modules]
    whole = stacked(modules)
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.zero_()
    for module, old in zip(modules, before, strict=True):
        assert all(torch.equal(value, old[name]) for name, value in module.state_dict().items())


def test_an_interrupted_training_goes_on_to_the_same_bytes(pair, tmp_path):
    file, options = tmp_path / "state", {"epochs": 3, "batch": 64, "keep": (1,), **SGD}

    def stop(stage: str, fraction: float, message: str) -> None:
        if fraction > 0.4:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        train_together("mlp", MLP, pair, SEEDS, resume=file, report=stop, **options)
    assert file.is_file()
    with pytest.raises(InvalidSetting, match="another training"):
        train_together("mlp", MLP, pair, SEEDS[::-1], resume=file, **options)
    before = torch.get_rng_state()
    went_on = train_together("mlp", MLP, pair, SEEDS, resume=file, **options)
    assert torch.equal(before, torch.get_rng_state())
    for one, whole in zip(went_on, train_together("mlp", MLP, pair, SEEDS, **options), strict=True):
        check_same(one, whole)


@pytest.mark.parametrize(
    "architecture, seeds, options, words",
    [
        ("cnn", (0, 1), {}, "one network at a time"),
        ("mlp_adaptive", (0, 1), {}, "one network at a time"),
        ("mlp", (), {}, "different seeds"),
        ("mlp", (1, 1), {}, "different seeds"),
        ("mlp", (0, 1), {"seed": 3}, "different seeds"),
        ("mlp", (0, 1), {"lora": 2}, "without LoRA"),
        ("mlp", (0, 1), {"precision": "bfloat16"}, "in float32"),
        ("mlp", (0, 1), {"epoch": 3}, "no setting 'epoch'"),
    ],
)
def test_what_cannot_be_trained_together_is_refused_before_any_work(architecture, seeds, options, words):
    with pytest.raises(InvalidSetting, match=words):
        train_together(architecture, MLP, "no data set", seeds, **options)
