"""Networks of torchvision and timm by name: a file's sizes are read from its shapes, its outputs are the original's."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch

from merging.errors import InvalidSetting, UnknownArchitecture
from merging.network.tracing.tracer import trace, verify
from merging.zoo.architectures import build
from merging.zoo.architectures.library import (
    DIGESTS,
    build_library_net,
    library_config,
    names_digest,
    torchvision_names,
)
from merging.zoo.architectures.names import describe, is_known, torchvision_keys
from merging.zoo.architectures.weightless import weightless
from merging.zoo.checkpoints.checkpoint import load_bytes
from merging.zoo.torchvision_import import torchvision
from tests.zoo.forms import trained_looking

TIMM = {
    **{"test_resnet": 160, "test_efficientnet": 160, "test_convnext": 160, "test_byobnet": 160, "test_mambaout": 160},
    **{"test_nfnet": 160, "resnet10t": 64, "mobilenetv3_small_050": 64, "mixer_s32_224": 224, "poolformerv2_s12": 64},
    **{"vit_tiny_patch16_224": 224, "ghostnet_050": 64},
}


def test_the_list_of_torchvisions_names_is_torchvisions():
    """merging/zoo/architectures/torchvision_names.json, by which a file finds its network without importing it."""
    made: dict[str, list[str]] = {}
    for name in torchvision_names():
        with weightless():
            net = build_library_net(f"torchvision/{name}", (0.0,), (1.0,))
        made.setdefault(names_digest(frozenset(net.state_dict())), []).append(name)
    assert made == json.loads(DIGESTS.read_text("utf-8"))
    assert len(torchvision_keys()) == 80


@pytest.mark.parametrize("name", TIMM)
def test_a_timm_network_by_name_computes_what_its_file_did(name):
    library = torchvision and pytest.importorskip("timm")
    net = trained_looking(library.create_model(name, pretrained=False, num_classes=7))
    data = safetensors.torch.save({key: value.contiguous() for key, value in net.state_dict().items()})
    checkpoint = load_bytes(data, architecture=f"timm/{name}")
    assert checkpoint.config["classes"] == 7
    images = torch.rand(2, 3, TIMM[name], TIMM[name])
    with torch.no_grad():
        wanted, got = net(images), checkpoint.build()(images)
    assert float((wanted - got).abs().max()) <= 1e-6 * float(wanted.abs().max())


def test_a_timm_network_is_traced():
    library = torchvision and pytest.importorskip("timm")
    net = library.create_model("test_convnext", pretrained=False, num_classes=7).eval()
    images = torch.rand(2, 3, 64, 64)
    assert verify(net, trace(net, images), images) < 1e-12


def test_input_channels_are_read_from_the_first_convolution():
    library = torchvision and pytest.importorskip("timm")
    net = library.create_model("test_resnet", pretrained=False, num_classes=10, in_chans=1)
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert library_config("timm/test_resnet", shapes) == {"classes": 10, "channels": 1}


def test_the_image_size_of_a_vision_transformer_is_read_from_its_positions():
    with weightless():
        net = torchvision.models.vit_b_32(num_classes=9, image_size=64)
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    wanted = {"classes": 9, "image_size": 64, "in_shape": [3, 64, 64]}
    assert library_config("torchvision/vit_b_32", shapes) == wanted


@pytest.mark.parametrize("size", [224, 320])
def test_the_image_size_is_read_where_patches_overlap(size):
    library = torchvision and pytest.importorskip("timm")
    with weightless():
        net = library.create_model("hiera_tiny_224", pretrained=False, num_classes=5, img_size=size)
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    config = library_config("timm/hiera_tiny_224", shapes)
    assert (config["in_shape"], config.get("image_size", 224)) == ([3, size, size], size)


def test_images_are_normalised_before_a_librarys_network():
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    plain, fed = (build("torchvision/squeezenet1_1", {"classes": 3}, *given) for given in ((), (mean, std)))
    images = torch.rand(2, 3, 64, 64)
    standard = (images - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    assert torch.allclose(fed(images), plain(standard), atol=1e-6)
    assert fed.state_dict().keys() == plain.state_dict().keys()
    assert verify(fed, trace(fed, images), images) < 1e-12


@pytest.mark.parametrize(
    ("architecture", "config", "error", "words"),
    [
        ("torchvision/resnet19", {}, UnknownArchitecture, "Did you mean resnet"),
        ("timm/no_such_net", {}, UnknownArchitecture, "timm has no network"),
        ("torchvision/resnet18", {"width": 3}, InvalidSetting, "has no setting 'width'"),
        ("torchvision/resnet18", {"image_size": 32}, InvalidSetting, "cannot be built"),
        ("torchvision/resnet18", {"auxiliary": "perhaps"}, InvalidSetting, "yes, no"),
    ],
)
def test_what_a_library_does_not_have_is_said(architecture, config, error, words):
    with pytest.raises(error, match=words):
        build(architecture, config)


def test_only_names_of_a_librarys_form_are_known():
    assert is_known("torchvision/resnet18") and is_known("timm/test_vit")
    for text in ("torchvision/../x", "os/system", "torchvision/", "timm/a b", "torchvision/a/b"):
        assert not is_known(text)
    assert describe("torchvision/resnet18", {"classes": 3}) == "resnet18 (torchvision)"


def test_building_leaves_the_random_state_alone():
    torch.manual_seed(1)
    wanted = torch.rand(1)
    torch.manual_seed(1)
    build("torchvision/squeezenet1_1", {"classes": 2})
    assert torch.equal(torch.rand(1), wanted)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_file_without_auxiliary_classifiers_is_found(name):
    net = trained_looking(torchvision.models.get_model(name, weights=None, aux_logits=False, init_weights=False))
    checkpoint = load_bytes(safetensors.torch.save(net.state_dict()))
    assert (checkpoint.architecture, checkpoint.config["auxiliary"]) == (f"torchvision/{name}", "no")
    images = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(checkpoint.build()(images), net(images))
