"""Trace every torchvision classification architecture: `python -m benchmarks.architectures` (docs/architectures.md).

Weights, biases, norm parameters and running statistics are random. Every group is permuted at random and the outputs
are compared in float64, which takes the memory of seven copies in float32: 21 GB for the largest. With names on the
command line, only those are traced, and their rows are printed.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from benchmarks.layer_values import adjacent_difference
from benchmarks.timing import write
from merging.errors import AmbiguousCheckpoint, MergescopeError
from merging.network.graph.graph import export
from merging.network.tracing.tracer import coverage, trace_graph, verify
from merging.paths import ROOT
from merging.zoo.checkpoints.checkpoint import load_checkpoint
from merging.zoo.torchvision_import import torchvision

PAGE = ROOT / "docs" / "architectures.md"
HEAD = """# Architectures

What `merging.trace` makes of every classification architecture of torchvision, with random weights: the groups of units
that may change places, how many of the hidden layers' output units are in one, and the largest change of the outputs,
relative and in float64, when all groups are permuted at random. CKA, for one architecture of every family: its largest
difference from the textbook's formula on what forward hooks see for single images, over all pairs of neighbouring
convolutions, linear layers and norms, on 5 images in float64. Files: what becomes of the plain state dict as a
safetensors file that says nothing else: found, with outputs equal to 1e-6 of their size, asked, or refused.
GoogLeNet and Inception are without auxiliary classifiers here. `python -m benchmarks.architectures` writes this page;
[timm.md](timm.md) has one network of every family of timm.

| architecture | parameters | groups | units permuted | of | change of outputs | tracing, s | CKA | files |
|---|---:|---:|---:|---:|---:|---:|---:|---|
"""
SMALLEST = (
    *("alexnet", "vgg11_bn", "resnet18", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "squeezenet1_1"),
    *("googlenet", "inception_v3", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5"),
    *("efficientnet_b0", "regnet_y_400mf", "convnext_tiny", "vit_b_32", "swin_t", "swin_v2_t", "maxvit_t"),
)
SIDES = {"inception_v3": 96, "maxvit_t": 224}  # pixels of an image: as small as the architecture allows
FIXED = ("vit_", "swin_")
EQUAL = 1e-6  # relative to the largest output


def names() -> list[str]:
    """Names of all classification architectures of torchvision."""
    return sorted(torchvision.models.list_models(module=torchvision.models))


DIMMING = ("efficientnet",)  # deep chains of gated layers: random statistics would let no signal through


def made(name: str) -> tuple[nn.Module, Tensor]:
    """Build the network with all values random, in eval mode, and two images."""
    side = SIDES.get(name, 224 if name.startswith(FIXED) else 64)
    options = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = torchvision.models.get_model(name, weights=None, **options).eval()
    randomise(net)
    images = torch.randn(2, 3, side, side)
    if name.startswith(DIMMING):
        enliven(net, images)
    return net, images


@torch.no_grad()
def randomise(net: nn.Module) -> None:
    """Add noise to values that are equal in a fresh network: biases, norms, statistics, heads that begin at zero."""
    buffers = dict(net.named_buffers())
    for key, tensor in (*net.named_parameters(), *buffers.items()):
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif key in buffers and not key.endswith("running_mean"):
            continue  # a constant
        elif tensor.ndim <= 1 or not tensor.any():
            tensor.add_(0.2 * torch.randn_like(tensor))


@torch.no_grad()
def enliven(net: nn.Module, images: Tensor) -> None:
    """Take the running statistics from the images: random ones would leave outputs that hardly vary."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    net(images)
    net.eval()


def row(name: str) -> str:
    """One line of the table; for a refused network, the reason."""
    net, images = made(name)
    parameters = sum(p.numel() for p in net.parameters())
    begin = time.perf_counter()
    try:
        graph = export(net, images)
        spec = trace_graph(graph)
    except MergescopeError as error:
        return f"| {name} | {parameters / 1e6:.1f} M | | | | refused: {error} | | | |"
    seconds = time.perf_counter() - begin
    permuted, units = coverage(graph, spec)
    apart = verify(net, spec, images)
    cell = files(net, images)
    counts = f"{len(spec.groups)} | {permuted:,} | {units:,}"
    return (
        f"| {name} | {parameters / 1e6:.1f} M | {counts} | {apart:.0e} | {seconds:.1f} | {similarity(name)} | {cell} |"
    )


def similarity(name: str) -> str:
    """Largest difference of CKA from the textbook's, or why it is refused; "" for all but one network per family."""
    if name not in SMALLEST:
        return ""
    net, images = made(name)
    generator = torch.Generator().manual_seed(0)
    inputs = 10 * torch.randn(5, *images.shape[1:], generator=generator)  # large enough to vary in deep layers
    try:
        return f"{adjacent_difference(net, inputs):.0e}"
    except MergescopeError as error:
        return f"refused: {error}"


@torch.no_grad()
def files(net: nn.Module, images: Tensor, **said: Any) -> str:
    """Result of reading the plain state dict as a file. images: (n, 3, H, W).  said: keywords of `load_checkpoint`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plain.safetensors"
        safetensors.torch.save_file(
            {key: tensor.clone().contiguous() for key, tensor in net.state_dict().items()}, path
        )
        try:
            loaded = load_checkpoint(path, mean=(0.0,) * 3, std=(1.0,) * 3, **said)
        except AmbiguousCheckpoint as question:
            return f"asked among {len(question.candidates)}"
        except MergescopeError as error:
            return f"refused: {first_sentence(error)}"
    expected, outputs = net(images), loaded.build()(images)
    apart = float((expected - outputs).abs().max() / expected.abs().max())
    return "found" if apart <= EQUAL else f"WRONG by {apart:.0e}"


def first_sentence(error: Exception) -> str:
    """First sentence of an error's message, as a cell of a table."""
    return str(error).split(". ")[0].split("\n")[0].replace("|", "/").rstrip(".")


def main() -> None:
    """Write all rows to the page, or print the rows of the named architectures."""
    selection = sys.argv[1:]
    rows = []
    for name in selection or names():
        rows.append(row(name))
        write(rows[-1])
    if not selection:
        PAGE.write_text(HEAD + "\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
