"""Cost of similarity maps relative to the work that they cannot avoid: python -m benchmarks.cka

All sides run in this process, in turns: the map of all layers of two networks, exact and from minibatches; one forward
pass of each network over the same images; and the matrix products that an exact map consists of, on ready features of
the same shapes. Ratios are taken per round. Networks are exported once beforehand; `cka` would do that at each call.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from math import prod
from typing import Literal

import numpy as np
import torch
from torch import nn

from benchmarks.nets import PAIRS, drawn, images, pair
from benchmarks.timing import interleave, ratios, spread, table, write
from merging.analysis.activations.features import BATCH
from merging.analysis.similarity import hsic
from merging.analysis.similarity.cka import compare
from merging.network.data import Batches
from merging.network.graph.graph import export
from merging.network.permutation import named_tensors
from merging.results.reports import SimilarityMap

Treatment = Literal["pooled", "flattened"]

# Treatment, number of images, images per minibatch.
CASES: tuple[tuple[Treatment, int, int], ...] = (("pooled", 2000, 24), ("flattened", 512, 12), ("flattened", 512, 24))


@torch.inference_mode()
def forward_passes(models: tuple[nn.Module, ...], data: Batches) -> None:
    """Pass all batches once through each network, and discard the outputs."""
    for model in models:
        for batch, _ in data:
            model(batch)


def products(widths: list[int], count: int, grams: bool) -> Callable[[], object]:
    """Return a function that computes only the products of two networks' maps, on random features.

    widths: features p of each layer.  grams: multiply Gram matrices (n, n) of every layer's features (n, p), the lower
    triangle in the same blocks; otherwise all features with all.
    """
    features = torch.randn(count, max(widths) if grams else sum(widths))

    def by_grams() -> None:
        for width in (*widths, *widths):
            for block in features[:, :width].split(hsic.BLOCK, 1):
                for first in range(0, count, hsic.ROWS):
                    block[first:] @ block[first : first + hsic.ROWS].T

    def by_features() -> None:
        features.T @ features
        for columns in (*features.split(widths, 1), *features.split(widths, 1)):
            columns.T @ columns

    return by_grams if grams else by_features


def similarity_maps(
    models: tuple[nn.Module, nn.Module],
    data: Batches,
    treatment: Treatment,
    minibatch: int = 24,
) -> dict[str, Callable[[], SimilarityMap]]:
    """Functions that compute the map of all layers, exact and from minibatches; the network is exported before."""
    graph = export(models[0], data.example())
    sides = [(graph, named_tensors(model), graph.layers) for model in models]
    return {
        "minibatches": lambda: compare(sides, data, treatment=treatment, minibatch=minibatch),
        "exact": lambda: compare(sides, data, treatment=treatment),
    }


def main() -> None:
    """Write one row per shipped pair and treatment."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=5)
    arguments = options.parse_args()
    rows = []
    for treatment, count, minibatch in CASES:
        for label, name in {**PAIRS, "ResNet-20": ""}.items():
            models, data = (pair(name), images(count, "train")) if name else drawn("resnet20", count)
            data = data.sized(BATCH)  # the batch size sets the cost of a pass, so all sides share it
            layers, flat = export(models[0], data.example()).layers, treatment == "flattened"
            widths = [layer.units * (prod(layer.positions) if flat else 1) for layer in layers]
            least = products(widths, count, flat or hsic.prefers_grams(count, widths))

            def passes(models: tuple[nn.Module, ...] = models, data: Batches = data) -> None:
                forward_passes(models, data)

            def both(passes: Callable[[], object] = passes, least: Callable[[], object] = least) -> None:
                passes()
                least()

            maps = similarity_maps(models, data, treatment, minibatch)
            apart = np.nanmax(np.abs(maps["exact"]().values - maps["minibatches"]().values))
            timings = interleave({"forward": passes, **maps, "all": both}, arguments.repeats, clock=time.process_time)
            shares = [("exact", "forward"), ("exact", "all"), ("minibatches", "forward")]
            cells = [spread(ratios(timings[one], timings[other]), 2) for one, other in shares]
            side = f"{len(layers)} × {len(layers)}"
            exact = spread(timings["exact"])
            rows.append([label, treatment, count, side, exact, *cells[:2], minibatch, cells[2], f"{apart:.3f}"])
    write(f"{arguments.repeats} rounds: median (lowest-highest) of processor seconds, one thread")
    head = ["net", "treatment", "images", "map", "seconds", "exact / two forward passes", "exact / passes and products"]
    head += ["minibatches of", "minibatches / passes", "largest difference from exact"]
    write(table(head, rows))


if __name__ == "__main__":
    main()
