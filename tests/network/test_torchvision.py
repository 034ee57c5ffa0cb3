"""A small member of every torchvision family, everything in it random: right, and with hardly a unit left out."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from benchmarks.architectures import PAGE, SMALLEST, made, names, randomise, similarity
from benchmarks.timm_families import NETWORKS
from merging.network.graph.graph import Graph, export
from merging.network.permutation import PermutationSpec
from merging.network.tracing.tracer import coverage, trace_graph, verify
from merging.zoo.torchvision_import import torchvision

# family -> its smallest member, and the share of its hidden layers' output units that must be in a group
FAMILIES = {
    "AlexNet": ("alexnet", 1.0),
    "VGG-BN": ("vgg11_bn", 1.0),
    "ResNet": ("resnet18", 1.0),
    "ResNeXt": ("resnext50_32x4d", 1.0),
    "Wide ResNet": ("wide_resnet50_2", 1.0),
    "SqueezeNet": ("squeezenet1_1", 1.0),
    "GoogLeNet": ("googlenet", 1.0),
    "Inception": ("inception_v3", 1.0),
    "MobileNet v2": ("mobilenet_v2", 1.0),
    "MobileNet v3": ("mobilenet_v3_small", 1.0),
    "MNASNet": ("mnasnet0_5", 1.0),
    "ShuffleNet": ("shufflenet_v2_x0_5", 0.9),  # halves of halves: some units are cut apart and keep their places
    "EfficientNet": ("efficientnet_b0", 1.0),
    "RegNet": ("regnet_y_400mf", 1.0),
    "ConvNeXt": ("convnext_tiny", 1.0),
}


models, swin = torchvision.models, torchvision.models.swin_transformer
# family -> a network of its blocks, the pixels of an image, and the share as above. The smallest members repeat these
# blocks up to 24 times, and an export takes a second for each: here are two stages, with every kind of block.
SHALLOW: dict[str, tuple[Callable[[], nn.Module], int, float]] = {
    "DenseNet": (lambda: models.DenseNet(32, (2, 3), 64), 64, 1.0),
    "ViT": (lambda: models.VisionTransformer(96, 32, 2, num_heads=12, hidden_dim=768, mlp_dim=3072), 96, 1.0),
    "Swin": (lambda: swin.SwinTransformer([4, 4], 96, [2, 2], [3, 6], [7, 7]), 112, 0.99),
    "Swin v2": (
        lambda: swin.SwinTransformer(
            [4, 4], 96, [2, 2], [3, 6], [8, 8], block=swin.SwinTransformerBlockV2, downsample_layer=swin.PatchMergingV2
        ),
        112,
        0.99,
    ),
    "MaxViT": (
        lambda: models.MaxVit((112, 112), 64, 7, [64, 128], [1, 2], head_dim=32, stochastic_depth_prob=0.2),
        112,
        0.99,
    ),
}


def right_and_not_timid(net: nn.Module, images: torch.Tensor, share: float) -> tuple[Graph, PermutationSpec]:
    graph = export(net, images)
    spec = trace_graph(graph)
    assert verify(net, spec, images) < 1e-6
    permuted, units = coverage(graph, spec)
    assert permuted >= share * units
    return graph, spec


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_right_and_not_timid(family: str) -> None:
    name, share = FAMILIES[family]
    graph, spec = right_and_not_timid(*made(name), share)
    (row,) = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith(f"| {name} |")]
    permuted, units = coverage(graph, spec)
    assert [f"{len(spec.groups)}", f"{permuted:,}", f"{units:,}"] == [cell.strip() for cell in row.split("|")[3:6]]


@pytest.mark.parametrize("family", SHALLOW)
def test_every_deep_family_is_right_and_not_timid_in_two_stages(family: str) -> None:
    build, side, share = SHALLOW[family]
    torch.manual_seed(0)
    net = build().eval()
    randomise(net)
    right_and_not_timid(net, torch.randn(2, 3, side, side), share)


def test_every_smallest_member_is_of_a_family_here() -> None:
    assert len(FAMILIES) + len(SHALLOW) == len(SMALLEST) and {name for name, _ in FAMILIES.values()} <= set(SMALLEST)


def test_the_page_has_a_row_for_every_architecture_and_none_is_wrong() -> None:
    rows = re.findall(r"^\| (\S+) \| [\d.]+ M \|.*\|$", PAGE.read_text("utf-8"), re.M)
    assert rows == names()
    errors = re.findall(r"\| (\d\S*e-\d+) \| [\d.]+ \| (\S*) ?\| ([^|]+) \|$", PAGE.read_text("utf-8"), re.M)
    assert len(errors) == len(rows)
    assert max(float(error) for error, _, _ in errors) < 1e-6
    similarities = [float(similarity) for _, similarity, _ in errors if similarity]
    assert {files for _, _, files in errors if not files.startswith("refused: The file has")} == {"found"}
    assert len(similarities) == len(SMALLEST) and max(similarities) < 1e-6


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small"])
def test_similarity_is_the_textbooks(name: str) -> None:
    assert float(similarity(name)) < 1e-6


def test_no_network_of_a_timm_family_is_wrong() -> None:
    text = PAGE.with_name("timm.md").read_text("utf-8")
    rows = re.findall(r"^\| \S+ \| (\S+) \| [\d.]+ M \|.*\| ([^|]+) \| ([^|]+) \|$", text, re.M)
    assert [name for name, _, _ in rows] and {files for _, _, files in rows} == {"found"}
    proved = [float(change) for _, change, _ in rows if not change.startswith("refused: ")]
    assert max(proved) < 1e-6
    assert sorted(name for name, _, _ in rows) == sorted(NETWORKS.split())
