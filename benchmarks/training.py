"""Overhead of the training loop: python -m benchmarks.training [--json]

The time of `train` without its final evaluation, relative to the sum of the augmentation, the forward and backward
passes and the optimiser steps on the same number of batches that are ready in memory. One thread, processor time; the
sides run in turns. Aim: at most 1.1.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.timing import interleave, ratios, spread, table, write
from merging.zoo.architectures.table import build
from merging.zoo.datasets.load import ImageSet, facts, load_split
from merging.zoo.training.augment import AUGMENTATIONS
from merging.zoo.training.settings import TrainingSettings
from merging.zoo.training.state import make_optimiser
from merging.zoo.training.train import evaluate_trained, train

IMAGES, EPOCHS, REPEATS = 1_920, 10, 7
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "MLP 3×128, batch 64, SGD": ("mlp", {"widths": [128] * 3}, {"batch": 64, "optimiser": "sgd", "lr": 0.05}),
    "MLP 3×512, batch 128, Adam": ("mlp", {"widths": [512] * 3}, {"batch": 128, "optimiser": "adam", "lr": 1e-3}),
    "CNN 16-32-64, batch 128, flips and crops": (
        "cnn", {"widths": [16, 32, 64], "norm": "batch"}, {"batch": 128, "augment": "flip-crop"},
    ),
}  # fmt: skip


def main() -> None:
    """Measure every case and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images, test = load_split("fashion-mnist", "train", IMAGES), load_split("fashion-mnist", "test", 64)
    results = {}
    for label, (architecture, config, options) in CASES.items():
        whole, least = sides(architecture, config, options, images, test)
        timings = interleave({"train": whole, "least": least}, REPEATS, clock=time.process_time)
        evaluation = interleave({"it": evaluated(architecture, config, images, test)}, 3, clock=time.process_time)["it"]
        spent = type(evaluation)(tuple(seconds - evaluation.median for seconds in timings["train"].seconds))
        results[label] = ratios(spent, timings["least"])
    if arguments.json:
        write(json.dumps({label: ratio.seconds for label, ratio in results.items()}) + "\n")
    else:
        write(table(["training", "time / least time"], [[label, spread(r, 2)] for label, r in results.items()]) + "\n")


def sides(
    architecture: str, config: dict[str, Any], options: dict[str, Any], images: ImageSet, test: ImageSet
) -> tuple[Callable[[], object], Callable[[], object]]:
    """The training as the program does it, and its necessary parts alone, with equally many steps."""
    settings = TrainingSettings(epochs=EPOCHS, **options)
    module = network(architecture, config).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = make_optimiser(module, settings)
    batch = torch.from_numpy(images.images[: settings.batch].copy())
    labels = torch.from_numpy(images.labels[: settings.batch].copy())
    ready = (batch.float() / 255).contiguous(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)

    def least() -> None:
        for _ in range(EPOCHS * (len(images) // settings.batch)):
            AUGMENTATIONS[settings.augment](batch, generator)
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(module(ready), labels).backward()
            optimiser.step()

    return lambda: train(architecture, config, (images, test), epochs=EPOCHS, **options), least


def evaluated(architecture: str, config: dict[str, Any], images: ImageSet, test: ImageSet) -> Callable[[], object]:
    """The evaluation with which every training ends."""
    module = network(architecture, config)
    return lambda: [evaluate_trained(module, one) for one in (test, images)]


def network(architecture: str, config: dict[str, Any]) -> torch.nn.Module:
    """A network with random weights for Fashion-MNIST."""
    known = facts("fashion-mnist")
    full = {"in_shape": list(known.shape), "classes": len(known.classes), **config}
    return build(architecture, full, known.mean, known.std, seed=0)


if __name__ == "__main__":
    main()
