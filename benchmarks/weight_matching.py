"""Cost of matching relative to its own matrix products and assignments, and its memory.

python -m benchmarks.weight_matching

"alone" repeats exactly the products and assignments that the measured matching made, on tensors that are ready; the
ratio is taken per round within this process. For activation matching, "alone" is the forward passes of both networks
plus the products and assignments of the activations that the measured run used. Memory is the peak of a fresh process
above its level before the models were made, in checkpoints (the two models themselves are two of them).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.timing import interleave, ratios, spread, table, write
from merging.methods.algorithms import coordinate_descent
from merging.methods.algorithms.activation_statistics import Moments
from merging.methods.align.activation_matching import ActivationMatchingSettings, activation_matching
from merging.methods.align.weight_matching import WeightMatchingSettings, weight_matching
from merging.methods.problem import Problem
from merging.network.data import Batches
from merging.network.graph.graph import export
from merging.network.permutation import PermutationSpec, named_tensors
from merging.network.tracing.tracer import trace_graph
from merging.paths import ASSETS
from merging.zoo.checkpoints.checkpoint import load_checkpoint
from merging.zoo.torchvision_import import torchvision

ZOO = ASSETS / "zoo"
WIDTH, DEPTH = 2300, 5  # 106 MB of float32
SMALL = WeightMatchingSettings()
LARGE = WeightMatchingSettings(restarts=1, sweeps=2)  # random nets never converge; further sweeps cost the same


def main() -> None:
    """Measure the shipped pairs and large random ones, and write the table and the peak memory."""
    torch.set_num_threads(1)
    images = torch.rand(2, 1, 28, 28)
    names = ("fashion-mlp-512", "fashion-cnn", "fashion-resnet")
    rows = [row(name, shipped(name), images, SMALL, repeats=9) for name in names]
    large = tuple(dense(seed) for seed in (0, 1))
    rows.append(row(f"MLP {DEPTH}x{WIDTH}, random", large, torch.rand(2, WIDTH), LARGE, repeats=3))
    rows.append(row("ResNet-50, random", residual(), torch.rand(2, 3, 64, 64), LARGE, repeats=3))
    rows.append(activation_row("ResNet-50, random, by activations", residual(), torch.rand(64, 3, 64, 64)))
    write(table(("pair", "products and assignments", "matching, s", "alone, s", "ratio"), rows))
    size = megabytes(large[0])
    shares = ", ".join(f"{memory() / size:.2f}" for _ in range(3))
    write(f"\nPeak memory of matching two MLPs of {size:.0f} MB: {shares} checkpoints (three processes).")


def row(
    name: str, models: tuple[nn.Module, ...], example: Tensor, settings: WeightMatchingSettings, repeats: int
) -> tuple[object, ...]:
    """One line of the table: both sides of a pair timed in turns, after one round of warm-up."""
    graph = export(models[0], example)
    problem = Problem(models, graph, trace_graph(graph))
    scores, rows = recorded(lambda: weight_matching(problem, settings))

    def alone() -> None:
        for a, b in rows:
            coordinate_descent.weight_similarity(a, b)
        for matrix in scores:
            coordinate_descent.assign(matrix)

    sides = {"matching": lambda: weight_matching(problem, settings), "alone": alone}
    timings = interleave(sides, repeats)
    share = ratios(timings["matching"], timings["alone"])
    return name, len(rows), spread(timings["matching"]), spread(timings["alone"]), spread(share, 2)


def activation_row(name: str, models: tuple[nn.Module, ...], images: Tensor) -> tuple[object, ...]:
    """One line of the table: activation matching of a pair on some images."""
    data = Batches(images, torch.zeros(len(images), dtype=torch.int64), len(images) // 2)
    graph = export(models[0], data.example())
    problem, settings = Problem(models, graph, trace_graph(graph), data), ActivationMatchingSettings()
    pairs: list[tuple[Tensor, Tensor]] = []
    scores: list[Tensor] = []
    add, assign = Moments.add, coordinate_descent.assign

    def noted(moments: Moments, a: Tensor, b: Tensor) -> None:
        pairs.append((a.double(), b.double()))
        add(moments, a, b)

    def kept(matrix: Tensor) -> Tensor:
        scores.append(matrix)
        return assign(matrix)

    with patch.object(Moments, "add", noted), patch.object(coordinate_descent, "assign", kept):
        activation_matching(problem, settings)

    @torch.inference_mode()
    def alone() -> None:
        for model in models:
            for batch, _ in data:
                model(batch)
        for a, b in pairs:
            a.T @ b
        for matrix in scores:
            assign(matrix)

    timings = interleave({"matching": lambda: activation_matching(problem, settings), "alone": alone}, 3)
    share = ratios(timings["matching"], timings["alone"])
    return name, len(pairs), spread(timings["matching"]), spread(timings["alone"]), spread(share, 2)


def recorded(run: Callable[[], object]) -> tuple[list[Tensor], list[tuple[list[Tensor], list[Tensor]]]]:
    """Score matrices that a run assigned, and the operands of the products behind them, copied in order."""
    scores: list[Tensor] = []
    rows: list[tuple[list[Tensor], list[Tensor]]] = []
    similarity = coordinate_descent.weight_similarity

    def noted(a: Iterable[Tensor], b: Iterable[Tensor]) -> Tensor:
        rows.append((list(a), [matrix.clone() for matrix in b]))
        scores.append(similarity(*rows[-1]))
        return scores[-1]

    with patch.object(coordinate_descent, "similarity", noted):
        run()
    return scores, rows


def shipped(name: str) -> tuple[nn.Module, ...]:
    """Both seeds of a shipped network."""
    return tuple(load_checkpoint(ZOO / f"{name}-s{seed}.safetensors").build() for seed in (0, 1))


def dense(seed: int) -> nn.Module:
    """A random MLP of DEPTH hidden layers of WIDTH units on WIDTH inputs."""
    torch.manual_seed(seed)
    layers = [layer for _ in range(DEPTH) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10)).eval()


def residual() -> tuple[nn.Module, ...]:
    """Two torchvision ResNet-50 with random weights, 102 MB each."""
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(torchvision.models.resnet50(num_classes=10).eval())
    return tuple(models)


def megabytes(model: nn.Module) -> float:
    """The size of a model's tensors in 10^6 bytes."""
    return sum(t.numel() * t.element_size() for t in named_tensors(model).values()) / 1e6


def memory() -> float:
    """Peak memory, in 10^6 bytes, that a fresh process adds for two models and their matching."""
    result = subprocess.run(
        [sys.executable, "-c", "from benchmarks.weight_matching import child; child()"],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(result.stdout)


def child() -> None:
    """Work of the fresh process: trace a small network of the kind, then make and match two large ones."""
    global WIDTH
    torch.set_num_threads(1)
    large, WIDTH = WIDTH, 16
    graph = export(dense(0), torch.rand(2, 16))
    spec = trace_graph(graph)
    weight_matching(Problem((dense(0), dense(1)), graph, spec), SMALL)
    WIDTH = large
    before = peak()
    models = dense(0), dense(1)
    wide = PermutationSpec(tuple(replace(group, size=WIDTH) for group in spec.groups))
    weight_matching(Problem(models, graph, wide), LARGE)
    write(str(peak() - before))


def peak() -> float:
    """Peak memory of this process in 10^6 bytes. From /proc: getrusage of a child includes its parent's peak."""
    status = Path("/proc/self/status").read_text()
    return next(float(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / 1e6


if __name__ == "__main__":
    main()
