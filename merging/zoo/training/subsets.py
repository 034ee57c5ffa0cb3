"""Subsets of a data set (some classes, a share of the images) and transformed images, to train nets that differ."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from merging.errors import InvalidSetting
from merging.zoo.datasets.load import ImageSet

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
