"""Images and labels of one split, in memory. numpy only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from merging.zoo.datasets.facts import DatasetFacts

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The images and labels of one split of a data set.

    Attributes:
        name: the data set.
        split: "train" or "test".
        images: (n, channels, height, width) uint8.
        labels: (n,) int64, indices into classes.
        classes: the names of the classes.
        complete: whether these are all images of the split.
        facts: facts of a data set of the user's own images; None if `known.facts(name)` has them.
    """

    name: str
    split: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    complete: bool
    facts: DatasetFacts | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the images' bytes followed by the labels' bytes (little-endian int64), in hexadecimal."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()
