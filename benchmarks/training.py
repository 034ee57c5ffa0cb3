"""Overhead of the training loop: python -m benchmarks.training [--only WORDS] [--together | --workers] [--json]

The time of `train` without its final evaluation, relative to the sum of the augmentation, the forward and backward
passes and the optimiser steps on the same number of batches that are ready in memory. One thread, processor time; the
sides run in turns. Aim: at most 1.1.

--together instead compares eight MLPs (seeds 0 to 7; batch 64, SGD with momentum) with one of them, at several widths:
trained one after the other, by `train_together`, and by torch.func (vmap of the gradient), whose networks differ in
their last bits from those trained alone.

--workers compares the same eight MLPs, four in each of two processes, as sweeps train them on two cores, with one of
them in one process; elapsed time, so nothing else may run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.timing import interleave, ratios, spread, table, write
from merging.zoo.architectures.table import build
from merging.zoo.datasets.load import ImageSet, facts, load_split
from merging.zoo.training.augment import AUGMENTATIONS
from merging.zoo.training.settings import TrainingSettings
from merging.zoo.training.state import make_optimiser
from merging.zoo.training.together import train_together
from merging.zoo.training.train import evaluate_trained, train

IMAGES, EPOCHS, REPEATS = 1_920, 10, 7
WIDTHS = (8, 32, 128)
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
    parser.add_argument("--only", default="", metavar="WORDS", help="only the cases whose names hold these words")
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--workers", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images, test = load_split("fashion-mnist", "train", IMAGES), load_split("fashion-mnist", "test", 64)
    if arguments.together:
        return compare_together(images, test, as_json=arguments.json)
    if arguments.workers:
        return compare_workers(as_json=arguments.json)
    results = {}
    for label, (architecture, config, options) in CASES.items():
        if arguments.only not in label:
            continue
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


def network(architecture: str, config: dict[str, Any], seed: int = 0) -> torch.nn.Module:
    """A network with random weights for Fashion-MNIST."""
    known = facts("fashion-mnist")
    full = {"in_shape": list(known.shape), "classes": len(known.classes), **config}
    return build(architecture, full, known.mean, known.std, seed=seed)


def compare_together(images: ImageSet, test: ImageSet, *, as_json: bool) -> None:
    """Measure eight networks at every width, and print their times relative to that of one, and their ratio."""
    rows, results = [], {}
    for width in WIDTHS:
        config: dict[str, Any] = {"widths": [width] * 3}
        options: dict[str, Any] = {"batch": 64, "optimiser": "sgd", "lr": 0.05, "epochs": 2}
        one = partial(train, "mlp", config, (images, test), **options)
        every = partial(train_together, "mlp", config, (images, test), range(8), **options)
        sides: dict[str, Callable[[], object]] = {"one": one, "apart": partial(apart, one), "together": every}
        sides["torch.func"] = partial(vmapped, config, images, test, options)
        timings = interleave(sides, REPEATS, clock=time.process_time)
        of_one = {name: ratios(timings[name], timings["one"]) for name in ("apart", "together", "torch.func")}
        of_one["apart / together"] = ratios(timings["apart"], timings["together"])
        results[width] = {name: ratio.seconds for name, ratio in of_one.items()}
        rows.append([f"3×{width}", *(spread(ratio, 2) for ratio in of_one.values())])
    head = ["hidden layers", "8 apart / one", "8 together / one", "8 by torch.func / one", "apart / together"]
    write((json.dumps(results) if as_json else table(head, rows)) + "\n")


def compare_workers(*, as_json: bool) -> None:
    """Measure eight networks in two processes, and print their elapsed time relative to that of one network."""
    rows, results = [], {}
    with multiprocessing.get_context("spawn").Pool(2) as workers:
        for width in WIDTHS:
            halves = [(width, range(4)), (width, range(4, 8))]
            sides: dict[str, Callable[[], object]] = {"one": partial(workers.starmap, trained, [(width, range(1))])}
            sides["eight"] = partial(workers.starmap, trained, halves, 1)
            timings = interleave(sides, REPEATS, warm_up=2)
            ratio = ratios(timings["eight"], timings["one"])
            results[width] = ratio.seconds
            rows.append([f"3×{width}", spread(ratio, 2)])
    write((json.dumps(results) if as_json else table(["hidden layers", "8 in two workers / one"], rows)) + "\n")


def trained(width: int, seeds: range) -> None:
    """Train these networks in one pass, on one thread."""
    torch.set_num_threads(1)
    images = load_split("fashion-mnist", "train", IMAGES), load_split("fashion-mnist", "test", 64)
    config: dict[str, Any] = {"widths": [width] * 3}
    options: dict[str, Any] = {"batch": 64, "optimiser": "sgd", "lr": 0.05, "epochs": 10}
    if len(seeds) == 1:
        train("mlp", config, images, seed=seeds[0], **options)
    else:
        train_together("mlp", config, images, seeds, **options)


def apart(one: Callable[..., object]) -> None:
    """Train eight networks one after the other."""
    for seed in range(8):
        one(seed=seed)


def vmapped(config: dict[str, Any], images: ImageSet, test: ImageSet, options: dict[str, Any]) -> None:
    """Train eight networks by torch.func, with as many steps, and evaluate them."""
    modules = [network("mlp", config, seed).train() for seed in range(8)]
    parameters, buffers = torch.func.stack_module_state(modules)  # type: ignore[arg-type]
    pixels, labels = torch.from_numpy(images.images.copy()), torch.from_numpy(images.labels.copy())

    def loss(parameters: Any, buffers: Any, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(torch.func.functional_call(modules[0], (parameters, buffers), (inputs,)), targets)

    gradients = torch.func.vmap(torch.func.grad(loss))
    learned = {name: value.detach() for name, value in parameters.items()}
    optimiser = torch.optim.SGD(learned.values(), lr=options["lr"], momentum=0.9)
    for _ in range(options["epochs"]):
        orders = torch.stack([torch.randperm(len(pixels)) for _ in modules])
        for rows in orders.split(options["batch"], dim=1):
            inputs = pixels.index_select(0, rows.flatten()).float().div_(255).view(*rows.shape, *pixels.shape[1:])
            given = gradients(learned, buffers, inputs, labels[rows])
            for name, value in learned.items():
                value.grad = given[name]
            optimiser.step()
    for module in modules:
        for one in (test, images):
            evaluate_trained(module, one)


if __name__ == "__main__":
    main()
