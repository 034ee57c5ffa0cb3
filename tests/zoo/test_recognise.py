"""Recognition: a state dict finds its architecture whatever its layers are called, or is refused by name."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from merging.errors import UnknownArchitecture
from merging.zoo.architectures import build
from merging.zoo.checkpoints.recognise.fit import Recognised, fit, structures

IMAGE = {"torchvision/resnet18": (3, 64, 64), "torchvision/resnet50": (3, 64, 64)}


def recognise(state: dict[str, torch.Tensor], architecture: str = "") -> Recognised:
    """The first network that fits: residual nets come before the chains that have the same tensors."""
    return structures(state, architecture)[0]


KNOWN = [
    ("mlp", {"widths": [24, 16, 16]}),
    ("cnn", {"widths": [4, 8]}),
    ("cnn", {"widths": [4, 8, 8, 12], "norm": "batch", "in_shape": [3, 32, 32], "classes": 7}),
    ("resnet", {"widths": [4, 8, 16]}),
    ("resnet", {"widths": [4, 4], "blocks": [1, 2], "shortcut": "identity"}),
    ("resnet", {"widths": [4, 8], "blocks": [2, 1], "norm": "layer", "shortcut": "pad"}),
    ("resnet", {"widths": [4, 8], "blocks": [1, 1], "norm": "none", "projection": "downsample"}),
    ("vgg11", {}),
    ("vgg11_bn", {"head": "three", "hidden": 32, "classes": 100}),
    ("vgg16", {"head": "three", "hidden": 16}),
    ("vgg16_bn", {}),
    *[(f"resnet{depth}", {"width": 4, "classes": 5}) for depth in (20, 32, 44, 56)],
    *[
        ("resnet20", {"width": 4, "shortcut": shortcut, "head": head, "projection": projection})
        for shortcut in ("pad", "conv")
        for head in ("linear", "fc")
        for projection in ("shortcut", "downsample")
    ],
    ("torchvision/resnet18", {"classes": 10}),
    ("torchvision/resnet50", {"classes": 3}),
]


@pytest.mark.parametrize(("architecture", "config"), KNOWN, ids=lambda value: str(value))
def test_every_known_architecture_is_found_and_computes_the_same(architecture, config):
    model = build(architecture, config, seed=3)
    (found,) = [one for one in structures(model.state_dict()) if one.architecture == architecture]
    twin = build(architecture, found.config)
    twin.load_state_dict(found.state)
    images = torch.rand(2, *found.config.get("in_shape", IMAGE.get(architecture)))
    assert torch.equal(model(images), twin(images))


NAMES = ["layers.{0}", "fc{1}", "net.{0}", "{0}", "module_{1}.linear", "hidden.{1}.0"]


@given(
    st.sampled_from(NAMES),
    st.lists(st.integers(1, 12), min_size=1, max_size=11),
    st.sampled_from([784, 3072, 64, 13]),
    st.booleans(),
)
def test_an_mlp_is_found_under_any_numbered_names(pattern, widths, inputs, is_sorted):
    sizes = [inputs, *widths, 10]
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    state = {
        f"{pattern.format(2 * i, i + 1)}.{key}": value
        for i, layer in enumerate(layers)
        for key, value in layer.state_dict().items()
    }
    # safetensors files do not keep the order of the layers: they sort by name, 10 before 2
    found = recognise(dict(sorted(state.items())) if is_sorted else state)
    assert (found.architecture, found.config["widths"]) == ("mlp", widths)
    model = build("mlp", found.config)
    model.load_state_dict(found.state)
    images = torch.rand(3, *found.config["in_shape"])
    value = layers[0](images.flatten(1))
    for layer in layers[1:]:
        value = layer(value.relu())
    assert torch.allclose(model(images), value, atol=1e-6)
    for theirs, ours in found.renamed.items():
        assert torch.equal(found.state[ours], state[theirs])


def linear(out: int, inputs: int, name: str) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": torch.randn(out, inputs), f"{name}.bias": torch.randn(out)}


def test_words_are_enough_where_only_one_order_fits():
    state = linear(5, 20, "output") | linear(20, 30, "middle") | linear(30, 64, "input")
    found = recognise(state)
    assert found.config == {"in_shape": [1, 8, 8], "classes": 5, "widths": [30, 20]}
    assert found.renamed["input.weight"] == "layers.0.weight"


def test_an_order_that_cannot_be_told_is_refused_rather_than_guessed():
    state = linear(8, 8, "first") | linear(8, 8, "second") | linear(8, 8, "third")
    with pytest.raises(UnknownArchitecture, match=r"order of the layers.*fc1, fc2"):
        recognise(state)


def test_many_layers_of_mixed_names_are_refused_in_time():
    state = {key: value for i in range(300) for key, value in linear(4, 4, f"{'ab'[i % 2] * (i + 1)}").items()}
    with pytest.raises(UnknownArchitecture):
        recognise(state)


def test_counters_missing_in_old_files_are_added():
    state = build("resnet20", {"width": 4}).state_dict()
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    found = recognise(old)
    assert set(found.state) == set(state)
    assert found.state["bn1.num_batches_tracked"].dtype == torch.int64


def test_missing_keys_are_named_with_the_nearest_architecture():
    state = build("resnet20", {}).state_dict()
    cut = {name: tensor for name, tensor in state.items() if not name.startswith("layer3.2.")}
    with pytest.raises(
        UnknownArchitecture, match=r"nearest to ResNet-20.*missing: layer3\.2\.conv1\.weight,.* and 7 more"
    ):
        recognise(cut, "resnet20")


def test_extra_keys_are_named():
    state = build("vgg11", {}).state_dict() | {"extra": torch.zeros(2)}
    with pytest.raises(UnknownArchitecture, match=r"VGG-11.*not expected: extra"):
        recognise(state)


def test_wrong_shapes_are_named_as_the_file_names_them():
    state = linear(8, 16, "fc1") | linear(3, 8, "fc2") | {"fc1.bias": torch.zeros(9)}
    with pytest.raises(UnknownArchitecture, match=r"wrong shapes: fc1\.bias is 9 instead of 8"):
        recognise(state)


def test_a_named_architecture_that_does_not_fit_says_so():
    state = build("mlp", {"widths": [8]}).state_dict()
    with pytest.raises(UnknownArchitecture, match="VGG-11"):
        recognise(state, "vgg11")
    with pytest.raises(UnknownArchitecture, match=r"layers\.0\.weight is 8×784 instead of 16×784"):
        fit(state, "mlp", {"widths": [16]})


@pytest.mark.parametrize(
    "state",
    [
        {"a": torch.zeros(())},
        {"weight": torch.zeros(3)},
        {"conv1.weight": torch.zeros(()), "fc.weight": torch.zeros(()), "layer1.0.conv1.weight": torch.zeros(())},
        {"layer7.0.conv1.weight": torch.zeros(2), "conv1.weight": torch.zeros(2, 2, 3, 3), "fc.weight": torch.zeros(2)},
        {"conv1.weight": torch.zeros(2, 1, 3, 3), "fc.weight": torch.zeros(2, 2), "layer1.9.x.y": torch.zeros(1)},
        {"features.0.weight": torch.zeros(4, 1, 3, 3), "classifier.weight": torch.zeros(2, 5)},
        linear(10, 784, "only"),
    ],
    ids=["scalar", "vector", "scalars", "stages", "block", "head", "one layer"],
)
def test_foreign_tensors_are_our_error_and_nothing_else(state):
    with pytest.raises(UnknownArchitecture):
        recognise(state)


def chain(*sizes: int) -> dict[str, torch.Tensor]:
    """fc1, fc2 ... with biases."""
    pairs = list(enumerate(pairwise(sizes), 1))
    weights = {f"fc{n}.weight": torch.zeros(wide, narrow) for n, (narrow, wide) in pairs}
    return weights | {f"fc{n}.bias": torch.zeros(wide) for n, (_, wide) in pairs}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (chain(784, 128, 10) | {"fc2.weight": torch.zeros(10, 100)}, "fc1 gives 128 values and fc2 takes 100"),
        (
            {n: t for n, t in chain(784, 128, 10).items() if n != "fc2.weight"},
            r"holds fc2\.bias, but no fc2\.weight: was all",
        ),
        ({n: t for n, t in chain(784, 128, 10).items() if n != "fc1.bias"}, r"MLP 1×128, but missing: fc1\.bias"),
        (chain(784, 10), "one linear layer: there are no hidden units"),
        ({"w": torch.zeros(3)}, r"fits this one tensor.*Known: MLP,"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_its_own_names(state, words):
    with pytest.raises(UnknownArchitecture, match=words):
        recognise(state)


@pytest.mark.parametrize(
    "net",
    [
        nn.Linear(784, 10),
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False), nn.ReLU(), nn.Flatten(), nn.Linear(8, 10)),
        nn.Sequential(weight_norm(nn.Linear(784, 50)), nn.ReLU(), nn.Linear(50, 10)),
    ],
    ids=["bare", "no affine", "weight norm"],
)
def test_a_whole_file_is_not_called_a_part(net):
    with pytest.raises(UnknownArchitecture) as caught:
        recognise(net.state_dict())
    assert "was all of the state dict saved" not in str(caught.value)


def test_a_residual_net_without_a_stages_first_convolution_is_named():
    state = build("resnet20", {}).state_dict()
    with pytest.raises(UnknownArchitecture, match=r"nearest is ResNet-20.*missing: layer2\.0\.conv1\.weight"):
        recognise({name: tensor for name, tensor in state.items() if name != "layer2.0.conv1.weight"})
