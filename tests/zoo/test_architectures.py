"""Every built-in architecture: it builds, runs, keeps the public key names, and refuses what it cannot build."""

import subprocess
import sys

import pytest
import torch

from merging.errors import InvalidSetting, UnknownArchitecture
from merging.zoo.architectures import ARCHITECTURES, Normalise, build, table
from merging.zoo.architectures.names import NAMES, NONLINEARITIES, describe
from merging.zoo.architectures.nonlinearity import MODULES

SMALL = {"mlp": {"widths": [16, 16]}, "cnn": {"widths": [4, 8, 8, 8]}, "resnet": {"widths": [4, 8, 8]}}
SMALL |= {"adaptive": SMALL["mlp"]}
GREY = ("mlp", "cnn", "resnet", "adaptive")


def net_and_images(key: str, number: int):
    """A small net of this architecture and images that fit it."""
    shape = (1, 28, 28) if key in GREY else (3, 64, 64) if key.startswith("tv_") else (3, 32, 32)
    return build(key, SMALL.get(key, {})), torch.rand(number, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("key", ARCHITECTURES)
def test_builds_and_runs_at_batch_one_and_three(key):
    net, images = net_and_images(key, 3)
    assert not net.training
    with torch.no_grad():
        three, one = net(images), net(images[:1])
    assert three.shape == (3, 1000 if key.startswith("tv_") else 10)
    torch.testing.assert_close(three[:1], one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("key", ARCHITECTURES)
def test_the_first_layer_leaves_no_key_behind(key):
    net, _ = net_and_images(key, 1)
    assert isinstance(net.normalise, Normalise)
    assert not [name for name in net.state_dict() if name.startswith("normalise")]


@pytest.mark.parametrize(
    "key, config, names",
    [
        ("mlp", {"widths": [8, 8]}, ["layers.0.weight", "layers.2.bias", "layers.4.weight"]),
        ("cnn", {"widths": [4, 4]}, ["features.0.weight", "features.3.bias", "classifier.weight"]),
        ("cnn", {"widths": [4, 4], "norm": "batch"}, ["features.1.running_mean", "features.4.weight"]),
        ("vgg11", {"head": "three", "hidden": 8}, ["features.0.weight", "classifier.3.weight", "classifier.6.bias"]),
        ("vgg16_bn", {}, ["features.41.running_var", "classifier.weight"]),
        ("resnet20", {}, ["conv1.weight", "bn1.weight", "layer3.2.conv2.weight", "linear.bias"]),
        ("resnet20", {"shortcut": "conv"}, ["layer2.0.shortcut.0.weight", "layer2.0.shortcut.1.running_var"]),
        (
            "resnet56",
            {"shortcut": "conv", "head": "fc", "projection": "downsample"},
            ["layer1.8.bn2.bias", "layer3.0.downsample.0.weight", "fc.weight"],
        ),
    ],
)
def test_keys_are_the_public_ones(key, config, names):
    assert set(names) <= set(build(key, config).state_dict())


@pytest.mark.parametrize("key", ["tv_resnet18", "tv_resnet50", "vgg11", "vgg16_bn"])
def test_state_dict_is_torchvisions(key):
    from merging.zoo.torchvision_import import torchvision

    with torch.device("meta"):  # shapes only: initialising a VGG takes seconds
        theirs = getattr(torchvision.models, key.removeprefix("tv_"))(num_classes=7)
    ours = build(key, {"classes": 7} | ({} if key.startswith("tv_") else {"head": "three", "pooled": 7}))
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (theirs, ours)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("key", "config"), [("mlp", {}), ("cnn", {}), ("vgg11", {"head": "three", "hidden": 8})])
@pytest.mark.parametrize("between", NONLINEARITIES)
def test_nets_without_branches_take_every_nonlinearity(between, key, config):
    net = build(key, {**SMALL.get(key, {}), **config, "nonlinearity": between})
    kinds = {type(MODULES[name]()) for name in MODULES}
    assert {type(module) for module in net.modules()} & kinds == {type(MODULES[between]())}


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("shortcut, widths", [("conv", [4, 8]), ("pad", [4, 7]), ("identity", [4, 4])])
def test_every_kind_of_residual_net(norm, shortcut, widths):
    config = {"widths": widths, "blocks": [2, 1], "norm": norm, "shortcut": shortcut, "classes": 3}
    assert build("resnet", config)(torch.rand(2, 1, 28, 28)).shape == (2, 3)


def test_the_seed_decides_and_the_callers_random_state_stays():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (build("mlp", {"widths": [8]}, seed=seed).layers[0].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_normalise_standardises_each_channel():
    images = torch.rand(2, 3, 4, 4)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    expected = torch.stack([(images[:, c] - mean[c]) / std[c] for c in range(3)], 1)
    torch.testing.assert_close(Normalise(mean, std)(images), expected)


@pytest.mark.parametrize(
    "key, config, words",
    [
        ("mlp", {}, "needs widths"),
        ("mlp", {"widths": [8], "depth": 3}, "no setting 'depth'"),
        ("mlp", {"widths": [0]}, "above 0"),
        ("mlp", {"widths": 8}, "wrong form"),
        ("cnn", {"widths": []}, "empty"),
        ("cnn", {"widths": [8], "norm": "spectral"}, "one of none, batch"),
        ("cnn", {"widths": [8], "in_shape": [28, 28]}, "channels, height, width"),
        ("resnet", {"widths": [4, 8], "blocks": [1]}, "one number per stage"),
        ("resnet", {"widths": [4, 8], "blocks": [1, 1], "shortcut": "identity"}, "same width"),
        ("resnet", {"widths": [8, 4], "blocks": [1, 1], "shortcut": "pad"}, "never decrease"),
        ("resnet20", {"shortcut": "identity"}, "one of pad, conv"),
        ("vgg11", {"head": "two"}, "one of linear, three"),
    ],
)
def test_a_wrong_configuration_is_refused_in_words(key, config, words):
    with pytest.raises(InvalidSetting, match=words):
        build(key, config)


def test_an_unknown_architecture_lists_the_known():
    with pytest.raises(UnknownArchitecture, match="mlp, cnn, resnet"):
        build("transformer", {})


def test_a_norm_without_spread_is_refused():
    with pytest.raises(InvalidSetting, match="std above 0"):
        Normalise((0.5,), (0.0,))


def test_names_are_those_of_the_table_and_need_no_torch():
    assert list(NAMES) == list(ARCHITECTURES)
    modules = "merging.zoo.architectures.names, merging.zoo.datasets.load, merging.zoo.training.recipes"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "key, config, label",
    [
        ("mlp", {"widths": [512] * 3}, "MLP 3×512"),
        ("mlp", {"widths": [512, 256]}, "MLP 512-256"),
        ("cnn", {"widths": [32, 64], "norm": "batch"}, "Plain CNN 32-64 + BN"),
        ("resnet20", {}, "ResNet-20 (CIFAR)"),
        ("mine", {}, "mine"),
    ],
)
def test_descriptions(key, config, label):
    assert describe(key, config) == label


def test_every_declared_architecture_has_a_name_and_every_name_an_architecture():
    assert table._DECLARED.keys() == NAMES.keys()
