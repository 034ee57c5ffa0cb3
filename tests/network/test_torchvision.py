"""The smallest member of every torchvision family, everything in it random: right, and with hardly a unit left out."""

import re

import pytest

from benchmarks.architectures import PAGE, SMALLEST, made, names, similarity
from benchmarks.timm_families import NETWORKS
from merging.network.graph.graph import export
from merging.network.tracing.tracer import coverage, trace_graph, verify

# family -> its smallest member, and the share of its hidden layers' output units that must be in a group
FAMILIES = {
    "AlexNet": ("alexnet", 1.0),
    "VGG-BN": ("vgg11_bn", 1.0),
    "ResNet": ("resnet18", 1.0),
    "ResNeXt": ("resnext50_32x4d", 1.0),
    "Wide ResNet": ("wide_resnet50_2", 1.0),
    "DenseNet": ("densenet121", 1.0),
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
    "ViT": ("vit_b_32", 1.0),
    "Swin": ("swin_t", 0.99),
    "Swin v2": ("swin_v2_t", 0.99),
    "MaxViT": ("maxvit_t", 0.99),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_right_and_not_timid(family: str) -> None:
    name, share = FAMILIES[family]
    net, images = made(name)
    graph = export(net, images)
    spec = trace_graph(graph)
    assert verify(net, spec, images) < 1e-6
    permuted, units = coverage(graph, spec)
    assert permuted >= share * units
    (row,) = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith(f"| {name} |")]
    assert [f"{len(spec.groups)}", f"{permuted:,}", f"{units:,}"] == [cell.strip() for cell in row.split("|")[3:6]]


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
