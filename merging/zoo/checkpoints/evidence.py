"""Evidence from test images when a checkpoint is loaded: accuracy of each wiring and normalisation that may apply."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import comb, isfinite
from typing import Any

import numpy as np
import torch
from torch import nn

from merging.errors import MergescopeError
from merging.results.intervals import Z99, wilson
from merging.zoo.datasets.facts import DatasetFacts
from merging.zoo.datasets.image_set import ImageSet
from merging.zoo.datasets.known import find_facts
from merging.zoo.datasets.load import load_split
from merging.zoo.training.train import evaluate_trained

IMAGES = 500
SCREENED = 100  # images on which every wiring is tried; the best wirings are then measured on all images
FINALISTS = 12
SECONDS = 20.0  # time limit; wirings not reached by then are skipped, and each result states its number of images
RARE = 1e-6  # an accuracy is clearly above chance if guessing reaches it with a smaller probability
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
Module = Callable[[tuple[float, ...], tuple[float, ...]], nn.Module]  # (mean, std) -> the network


@dataclass(frozen=True)
class Measured:
    """Accuracy and loss of a network on test images under one normalisation.

    Attributes:
        normalisation: its readable name.
        mean, std: one value per channel.
        accuracy: in 0..1.
        loss: in nats per image.
        images: the number of test images.
        chance: the share of the most frequent class, which is the accuracy of a constant answer.
    """

    normalisation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    accuracy: float
    loss: float
    images: int
    chance: float

    @property
    def above_chance(self) -> bool:
        """Whether the probability that guessing reaches this accuracy is below one in a million."""
        hits = round(self.accuracy * self.images)
        return _tail(hits, self.images, self.chance) < RARE

    @property
    def interval(self) -> tuple[float, float]:
        """The 99 % confidence interval of the accuracy (Wilson 1927)."""
        return wilson(self.accuracy, self.images, Z99)

    def to_dict(self) -> dict[str, Any]:
        """The fields and `above_chance` as JSON values."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std), "above_chance": self.above_chance}


def first_test_images(dataset: str | ImageSet, count: int = IMAGES) -> ImageSet:
    """The first `count` test images of a data set. Raises the errors of `load_split`."""
    images = load_split(dataset, "test", count) if isinstance(dataset, str) else dataset
    return _first(images, count)


def by_output(images: ImageSet, classes: Any) -> ImageSet:
    """The images with numbers of outputs as labels, for a network that names their classes in another order.

    classes: the names as a file states them, unchecked.
    """
    is_list = isinstance(classes, list | tuple) and all(isinstance(name, str) for name in classes)
    if not is_list or tuple(classes) == images.classes or sorted(classes) != sorted(images.classes):
        return images
    outputs = np.array([classes.index(name) for name in images.classes])
    return replace(images, labels=outputs[images.labels])


def normalisations(known: DatasetFacts | None, channels: int, stated: Normalisation | None) -> dict[str, Normalisation]:
    """Candidate normalisations of a network's images, by readable name; only the stated one, if there is one."""
    if stated is not None:
        return {"the stated mean and std": stated}
    ways = {} if known is None else {f"{known.label}'s mean and std": (known.mean, known.std)}
    ways["mean 0, std 1"] = ((0.0,) * channels, (1.0,) * channels)
    if channels == 3:
        ways["ImageNet's mean and std"] = IMAGENET
    return ways


@torch.no_grad()
def measure_networks(
    modules: Sequence[Module], images: ImageSet, stated: Normalisation | None, *, seconds: float = SECONDS
) -> list[tuple[Measured, ...]]:
    """Measure each network under each candidate normalisation.

    Every network is tried on the first 100 images, and the twelve best are then measured on all images.

    Args:
        modules: one per wiring, each called with (mean, std) to build the network.
        images: as `first_test_images` returns them.
        stated: the normalisation, if it is known.
        seconds: time limit; networks not reached by then have no results.
    Returns:
        One tuple per network, the best normalisation first, but the data set's own before others that are better only
        within the noise; () if the network does not take these images.
    """
    end = time.monotonic() + seconds
    known = find_facts(images.name)
    ways = normalisations(known, images.images.shape[1], stated)
    few = _first(images, SCREENED)
    screened = [_under_each(module, ways, few, end) for module in modules]
    order = sorted(range(len(modules)), key=lambda number: -_best(screened[number]))
    for number in order[:FINALISTS]:
        if screened[number] and time.monotonic() < end and len(images) > len(few):
            screened[number] = _under_each(modules[number], ways, images, end) or screened[number]
    return screened


def decide(measured: Sequence[tuple[Measured, ...]]) -> tuple[int | None, str]:
    """Return the index of the wiring that the images prove (None for no proof), and the reason as a phrase to display.

    A wiring is proved if it alone is clearly above chance, or if its 99 % interval lies above those of all others.
    """
    best = [results[0] if results else None for results in measured]
    above = [number for number, one in enumerate(best) if one is not None and one.above_chance]
    if not above:
        return None, "none of them is above chance on the images"
    first, *others = sorted(above, key=lambda number: -best[number].accuracy)  # type: ignore[union-attr]
    top = best[first]
    assert top is not None
    on = f"{100 * top.accuracy:.1f} % of {top.images} test images"
    if not others:
        return first, f"the only one of {len(measured)} above chance: {on}" if len(measured) > 1 else f"correct on {on}"
    rival = best[others[0]]
    if rival is not None and top.interval[0] > rival.interval[1]:
        return first, f"clearly better than the {len(measured) - 1} others: {on}, the next {100 * rival.accuracy:.1f} %"
    return None, f"{len(above)} of them are above chance on the images"


def _under_each(module: Module, ways: dict[str, Normalisation], images: ImageSet, end: float) -> tuple[Measured, ...]:
    results = []
    for words, (mean, std) in ways.items():
        if time.monotonic() > end:
            break
        try:
            score = evaluate_trained(module(mean, std), images)
        except (MergescopeError, RuntimeError, ValueError, TypeError, IndexError, AttributeError):
            continue  # this wiring does not take these images, or does not return logits for them
        if isfinite(score.loss):
            chance = float(max((images.labels == label).mean() for label in set(images.labels.tolist())))
            results.append(Measured(words, mean, std, score.accuracy, score.loss, len(images), chance))
    return tuple(_preferred(results))


def _preferred(results: Sequence[Measured]) -> list[Measured]:
    """Sort the results by accuracy; the first (the usual one) stays first unless another one is clearly better."""
    ordered = sorted(results, key=lambda one: -one.accuracy)
    if not ordered or ordered[0].interval[0] > results[0].interval[1]:
        return ordered
    return [results[0], *(one for one in ordered if one is not results[0])]


def _best(results: Sequence[Measured]) -> float:
    return results[0].accuracy if results else -1.0


def _first(images: ImageSet, count: int) -> ImageSet:
    return replace(images, images=images.images[:count], labels=images.labels[:count], complete=False)


def _tail(hits: int, count: int, chance: float) -> float:
    """Probability of at least `hits` successes in `count` trials of probability `chance`."""
    miss = 1 - chance
    return sum(comb(count, k) * chance**k * miss ** (count - k) for k in range(hits, count + 1)) if chance < 1 else 1.0
