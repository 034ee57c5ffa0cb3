"""Parts of a data set for nets that are to know different things: some classes, some images, other pictures."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from merging.errors import InvalidSetting
from merging.zoo.datasets.load import ImageSet

# name -> what it makes of images (n, C, H, W) uint8
TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda images: images,
    "invert": lambda images: 255 - images,
    "rotate": lambda images: np.ascontiguousarray(np.rot90(images, axes=(2, 3))),
}


def chosen_images(
    images: ImageSet, spans: Sequence[tuple[float, float]] | None, transform: str, outputs: int, *, learn: bool
) -> ImageSet:
    """The images of the classes that are seen, transformed; of a training split (learn) only the span of each class.

    spans: for every class, from where to where in 0..1 of its images in their order; None for all.  outputs: where it
    is the number of classes seen, and not of all, these are numbered from 0 on.  Raises InvalidSetting.
    """
    if spans is None:
        return replace(images, images=TRANSFORMS[transform](images.images)) if transform != "none" else images
    if len(spans) != len(images.classes):
        raise InvalidSetting(f"spans has {len(spans)} entries; {images.name} has {len(images.classes)} classes")
    seen = [number for number, (low, high) in enumerate(spans) if high > low]
    places = [_places(images.labels, number, spans[number] if learn else (0.0, 1.0)) for number in seen]
    if not places:
        raise InvalidSetting("spans leave out every class; give one of them a part of its images")
    kept = np.sort(np.concatenate(places))
    labels, classes = images.labels[kept], images.classes
    if outputs == len(seen) < len(classes):
        labels = np.searchsorted(seen, labels).astype(labels.dtype)
        classes = tuple(images.classes[number] for number in seen)
    return replace(images, images=TRANSFORMS[transform](images.images[kept]), labels=labels, classes=classes)


def _places(labels: np.ndarray, number: int, span: tuple[float, float]) -> np.ndarray:
    own = np.flatnonzero(labels == number)
    return own[round(span[0] * len(own)) : round(span[1] * len(own))]
