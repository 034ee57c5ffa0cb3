"""What similarity maps cost beside the forward passes that they cannot avoid: python -m benchmarks.cka

Both sides run in this process in turns: the map of all layers of two nets, and one forward pass of each over the same
images. The ratio is taken round by round. Networks are exported once before; `cka` alone would do that at each call.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from benchmarks.nets import PAIRS, images, pair
from benchmarks.timing import interleave, ratios, spread, table, write
from merging.analysis.cka import compare
from merging.analysis.features import BATCH
from merging.data import Batches
from merging.graph import export
from merging.permutation import named_tensors

CASES: tuple[tuple[Literal["pooled", "flattened"], int], ...] = (("pooled", 2000), ("flattened", 512))


@torch.inference_mode()
def forward_passes(models: tuple[nn.Module, nn.Module], data: Batches) -> None:
    """Each net once over all batches, outputs thrown away."""
    for model in models:
        for batch, _ in data:
            model(batch)


def similarity_map(
    models: tuple[nn.Module, nn.Module], data: Batches, treatment: Literal["pooled", "flattened"]
) -> Callable[[], object]:
    """A function that makes the map of all layers, with the network exported before."""
    graph = export(models[0], data.example())
    sides = [(graph, named_tensors(model), graph.layers) for model in models]
    return lambda: compare(sides, data, treatment=treatment)


def main() -> None:
    """Write one row a shipped pair and treatment."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    rows = []
    for treatment, count in CASES:
        data = images(count, "train").sized(BATCH)  # what a pass costs depends on it, so both sides have the same
        for label, name in PAIRS.items():
            models = pair(name)
            run = similarity_map(models, data, treatment)
            passes = interleave({"map": run, "forward": lambda m=models, d=data: forward_passes(m, d)}, chosen.repeats)
            layers = len(export(models[0], data.example()).layers)
            ratio = spread(ratios(passes["map"], passes["forward"]))
            rows.append([label, treatment, count, f"{layers} × {layers}", spread(passes["map"]), ratio])
    write(f"{chosen.repeats} rounds: median (lowest-highest), one thread")
    write(table(["net", "treatment", "images", "map", "seconds", "ratio to two forward passes"], rows))


if __name__ == "__main__":
    main()
