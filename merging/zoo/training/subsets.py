"""Subsets of a data set (some classes, a share of the images) and transformed images, to train nets that differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from merging.errors import InvalidSetting
from merging.zoo.datasets.load import ImageSet
from merging.zoo.training.options import TrainingOptions

# name -> function of images (n, C, H, W) uint8
TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda images: images,
    "invert": lambda images: 255 - images,
    "rotate": lambda images: np.ascontiguousarray(np.rot90(images, axes=(2, 3))),
}


def chosen_images(
    images: ImageSet, spans: Sequence[tuple[float, float]] | None, transform: str, outputs: int, *, learn: bool
) -> ImageSet:
    """Select the images of some classes, and transform them.

    Args:
        images: one split of a data set.
        spans: (low, high) in 0..1 per class: the share of its images, in their order, to train on. (0, 0) leaves the
            class out. None for all images.
        transform: a key of TRANSFORMS.
        outputs: number of the network's outputs. If classes are left out and this is the number of the remaining ones,
            labels are renumbered from 0.
        learn: whether this is the training split. If not, every remaining class keeps all its images.
    Raises:
        InvalidSetting: when spans do not fit the classes, or leave out all of them.
    """
    if spans is None:
        return replace(images, images=TRANSFORMS[transform](images.images)) if transform != "none" else images
    if len(spans) != len(images.classes):
        raise InvalidSetting(f"spans has {len(spans)} entries; {images.name} has {len(images.classes)} classes")
    numbers = [number for number, (low, high) in enumerate(spans) if high > low]
    places = [_places(images.labels, number, spans[number] if learn else (0.0, 1.0)) for number in numbers]
    if not places:
        raise InvalidSetting("spans leave out every class; give at least one class a share of its images")
    rows = np.sort(np.concatenate(places))
    labels, classes = images.labels[rows], images.classes
    if outputs == len(numbers) < len(classes):
        labels = np.searchsorted(numbers, labels).astype(labels.dtype)
        classes = tuple(images.classes[number] for number in numbers)
    return replace(images, images=TRANSFORMS[transform](images.images[rows]), labels=labels, classes=classes)


def _places(labels: np.ndarray, number: int, span: tuple[float, float]) -> np.ndarray:
    own = np.flatnonzero(labels == number)
    return own[round(span[0] * len(own)) : round(span[1] * len(own))]


def divided_images(images: ImageSet, options: TrainingOptions) -> ImageSet:
    """Return the images of the chosen part of the split, and of these the chosen share. All classes stay outputs."""
    if options.split == "none" and options.share == 1:
        return images
    rows = split_rows(images.labels, len(images.classes), options)[options.part]
    if options.share < 1:
        order = np.random.default_rng([options.split_seed, 1]).permutation(len(rows))
        rows = np.sort(rows[order[: max(1, round(options.share * len(rows)))]])
    if not len(rows):
        raise InvalidSetting("This part of the split holds no image. Choose another seed, or a larger concentration.")
    return replace(images, images=images.images[rows], labels=images.labels[rows], complete=False)


def split_rows(labels: np.ndarray, classes: int, options: TrainingOptions) -> tuple[np.ndarray, np.ndarray]:
    """Divide the images of a training set between two networks.

    Args:
        labels: (n,) class of each image.
        classes: number of classes.
        options: split, alpha and split_seed. "80-20" gives part 0 80 % of the images of the first half of the classes
            and 20 % of the others (Git Re-Basin, section 5.4); "dirichlet" draws the share of each class from a
            symmetric Dirichlet distribution (Hsu et al. 2019); "none" gives both parts all images.

    Returns:
        The rows of the two parts, sorted. Unless the split is "none", every image is in exactly one of them.
    """
    if options.split == "none":
        return (np.arange(len(labels)),) * 2
    rng = np.random.default_rng([options.split_seed, 0])
    order = rng.permutation(len(labels))
    if options.split == "halves":
        return np.sort(order[: len(labels) // 2]), np.sort(order[len(labels) // 2 :])
    first = np.arange(classes) < (classes + 1) // 2
    shares = {
        "80-20": np.where(first, 0.8, 0.2),
        "disjoint": first.astype(float),
        "dirichlet": rng.dirichlet([options.alpha, options.alpha], classes)[:, 0],
    }[options.split]
    taken = np.zeros(len(labels), bool)
    for number, share in enumerate(shares):
        own = order[labels[order] == number]
        taken[own[: round(share * len(own))]] = True
    return np.flatnonzero(taken), np.flatnonzero(~taken)


def noisy_labels(images: ImageSet, share: float, seed: int) -> np.ndarray:
    """Return a copy of the labels (n,); this share of them is a random other class (symmetric noise)."""
    labels, classes = images.labels.copy(), len(images.classes)
    count = round(share * len(labels))
    if count and classes > 1:
        rng = np.random.default_rng([seed, 2])
        rows = rng.choice(len(labels), count, replace=False)
        labels[rows] = (labels[rows] + rng.integers(1, classes, count)) % classes
    return labels
