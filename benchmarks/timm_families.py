"""Trace and read one network of every family of timm, for docs/timm.md: `python -m benchmarks.timm_families`.

A family is a module of `timm.models`, represented by its network with the fewest parameters. Families whose smallest
network has more than 100 million are left out. All values are random, as in `benchmarks.architectures`. With names on
the command line, only those networks run, and their rows are printed.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.architectures import enliven, files, first_sentence, randomise
from benchmarks.timing import write
from merging.errors import MergescopeError, NotEquivalent
from merging.network.graph.graph import Graph, export
from merging.network.permutation import PermutationSpec
from merging.network.tracing.tracer import coverage, trace_graph, verify
from merging.paths import ROOT
from merging.zoo.architectures.library import build_library_net

PAGE = ROOT / "docs" / "timm.md"
HEAD = """# timm

One network of every family of timm 1.0.31, the one with fewest parameters, with random weights and at its own image
size: the groups of units that may change places, how many of the hidden layers' output units are in one, and the
largest change of the outputs, relative and in float64, when all groups are permuted at random. Files: what becomes of
the plain state dict as a safetensors file that is said to be this network (`--architecture timm/NAME`): found, with
outputs equal to 1e-6 of their size, or refused. Left out are families whose smallest network has over 100 million
parameters: deepseek_vit, gemma4_vit, vgg. `python -m benchmarks.timm_families` writes this page.

| family | network | parameters | groups | units permuted | of | change of outputs | files |
|---|---|---:|---:|---:|---:|---:|---|
"""
NETWORKS = """
    beit_base_patch16_224 halonet_h1 test_byobnet cait_xxs24_224 coat_tiny convit_tiny convmixer_768_32
    test_convnext cpubone_nano crossvit_tiny_240 csatv2 cs3darknet_focus_s cspnext_tiny davit_tiny
    deit_tiny_patch16_224 densenet121 dla46x_c dpn48b edgenext_xx_small efficientformer_l1 efficientformerv2_s0
    test_efficientnet efficientvim_m1 efficientvit_b0 efficientvit_m0 vit_tiny_patch16_dinov3_qkvb fasternet_t0
    fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_050 hardcorenas_b hgnetv2_b0 hiera_tiny_224 sam2_hiera_tiny
    hrnet_w18_small iformer_t inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small
    levit_128s lowformer_b0 test_mambaout test_coatnet poolformerv2_s12 gmlp_ti16_224 mobilenetv3_small_050
    mobilenetv5_base mobilevit_xxs mvitv2_tiny naflexvit_base_patch16_parfac_gap nasnetalarge nest_tiny
    nextvit_small test_nfnet pit_ti_224 pnasnet5large pvt_v2_b0 qwen3_vit_88m rdnet_tiny regnetx_002 repghostnet_050
    repvit_m1 res2next50 resnest14d test_resnet resnetv2_18 rexnet_100 selecsls42 legacy_seresnet18 sequencer2d_s
    shvit_s1 skresnet18 starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window8_256
    swinv2_cr_tiny_224 tiny_vit_5m_224 tnt_s_legacy_patch16_224 tresnet_m twins_svt_small visformer_tiny test_vit
    vit_tiny_r_s16_p8_224 test_vit_relpos samvit_base_patch16_224 vitamin_small_224 volo_d1_224
    ese_vovnet19b_slim_dw legacy_xception xception41p xcit_nano_12_p8_224
"""


def made(name: str) -> tuple[nn.Module, Tensor]:
    """Build the network with all values random, in eval mode, and two images of its own size."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = build_library_net(f"timm/{name}", (0.0,) * 3, (1.0,) * 3).eval()
    randomise(net)
    published: Any = net.default_cfg
    images = torch.rand(2, *published["input_size"])
    enliven(net, images)
    return net, images


def row(name: str) -> str:
    """One line of the table; for a refused network, the reason."""
    net, images = made(name)
    family = import_module("timm").models.model_entrypoint(name).__module__.rpartition(".")[2]
    parameters = sum(p.numel() for p in net.parameters())
    file_result = files(net, images, architecture=f"timm/{name}")
    try:
        graph = export(net, images)
        spec = trace_graph(graph)
        permuted, units = coverage(graph, spec)
        cells = f"{len(spec.groups)} | {permuted:,} | {units:,} | {_proof(net, images, spec, graph)}"
    except MergescopeError as error:
        cells = f"| | | refused: {first_sentence(error)}"
    return f"| {family} | {name} | {parameters / 1e6:.1f} M | {cells} | {file_result} |"


def _proof(net: nn.Module, images: Tensor, spec: PermutationSpec, graph: Graph) -> str:
    try:
        return f"{verify(net, spec, images, graph=graph):.0e}"
    except NotEquivalent:
        return "none: its outputs do not vary"


def main() -> None:
    """Write all rows to the page, or print the rows of the named networks."""
    selection = sys.argv[1:]
    rows = []
    for name in selection or NETWORKS.split():
        rows.append(row(name))
        write(rows[-1])
    if not selection:
        PAGE.write_text(HEAD + "\n".join(sorted(rows)) + "\n", "utf-8")


if __name__ == "__main__":
    main()
