"""Cost of two studies relative to the work that they cannot avoid: python -m benchmarks.studies

Both sides of each ratio run in this process, in turns. The reliability panel of one cell is compared with the
similarity map that the cell belongs to; a plane of 21 x 21 points with 441 evaluations of one network on the same
images.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from torch import nn

from benchmarks.cka import similarity_maps
from benchmarks.nets import PAIRS, images, pair
from benchmarks.timing import interleave, ratios, spread, table, write
from merging.analysis.activations.features import BATCH, read_layers
from merging.analysis.path.evaluation import evaluate
from merging.analysis.path.plane import surface
from merging.analysis.similarity.reliability import examine
from merging.network.data import Batches
from merging.network.graph.graph import export
from merging.network.permutation import named_tensors, with_tensors

CELL_IMAGES, PLANE_IMAGES, SIDE = 2000, 200, 21


def panel(models: tuple[nn.Module, nn.Module], data: Batches) -> None:
    """Read the features of the middle layer in both networks, and examine their CKA."""
    graph = export(models[0], data.example())
    layer = graph.layers[len(graph.layers) // 2]
    first, second = (read_layers(graph, named_tensors(model), data, [layer])[0] for model in models)
    examine(first, second)


def plane(models: tuple[nn.Module, nn.Module], data: Batches) -> None:
    """Evaluate all 441 points, none filled in. The third network is the first plus noise, as far away as the second."""
    generator = torch.Generator().manual_seed(0)
    own = named_tensors(models[0])
    weights = {name: tensor for name, tensor in own.items() if tensor.ndim > 1 and tensor.numel() > 1}
    noise = {n: t + torch.randn(t.shape, generator=generator) * t.std() for n, t in weights.items()}
    surface([*models, with_tensors(models[0], noise)], data, resolution=SIDE, refine=False)


def evaluations(model: nn.Module, data: Batches) -> None:
    """Evaluate one network 441 times."""
    for _ in range(SIDE**2):
        evaluate(model, data)


def main() -> None:
    """Write one row per shipped pair and study."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=3)
    arguments, rows = options.parse_args(), []
    for label, name in PAIRS.items():
        models, data = pair(name), images(CELL_IMAGES, "train").sized(BATCH)
        run = similarity_maps(models, data, "pooled")["exact"]
        timings = interleave({"panel": partial(panel, models, data), "map": run}, arguments.repeats)
        ratio = spread(ratios(timings["panel"], timings["map"]))
        rows.append(["reliability panel / map", label, spread(timings["panel"]), ratio])
    for label, name in PAIRS.items():
        models, data = pair(name), images(PLANE_IMAGES)
        sides = {"plane": partial(plane, models, data), "evaluate": partial(evaluations, models[0], data)}
        timings = interleave(sides, arguments.repeats, warm_up=0)
        ratio = spread(ratios(timings["plane"], timings["evaluate"]))
        rows.append(["plane / 441 evaluations", label, spread(timings["plane"]), ratio])
    write(f"{CELL_IMAGES} and {PLANE_IMAGES} images, {arguments.repeats} rounds: median (lowest-highest), one thread")
    write(table(["what", "net", "seconds", "ratio"], rows))


if __name__ == "__main__":
    main()
