"""Results of a partial zip: the accuracy of every head for each layer at which the trunk may end. torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from merging.errors import InvalidRequest
from merging.results.reports import FORMAT
from merging.results.saving import saved

ROUNDING = 1e-9  # tolerance for accuracies, so that a fall equal to the limit counts as within it


def labels_of(classes: Sequence[str], names: Sequence[str], who: str, dataset: str = "the data set") -> list[int]:
    """Return the data set's label for each output of a network.

    classes: the network's class names, by output.  names: the data set's class names, by label.  who: the network in
    error messages.
    Raises InvalidRequest when the network has no class names, a duplicate, or one that the data set lacks.
    """
    if not classes or not set(classes) <= set(names):
        class_list = ", ".join(classes) or "not named"
        raise InvalidRequest(f"The classes of {who} are {class_list}; {dataset} has {', '.join(names)}.")
    if len(set(classes)) < len(classes):
        duplicate = next(name for name in classes if list(classes).count(name) > 1)
        raise InvalidRequest(
            f"{who} names the class {duplicate} for two outputs; every output needs a class of its own."
        )
    return [names.index(name) for name in classes]


@saved
@dataclass(frozen=True)
class ZipReport:
    """Results for K networks, zipped up to each of L layers. Accuracies are in 0..1 on test images.

    Attributes:
        names: "A", "B" ...
        layers: the L layers at which the trunk may end, in network order.
        heads: (K, L) accuracy of every head on images of its own classes.
        joint: (L,) accuracy of all heads together on the images of all their classes; NaN if two heads share a class.
        alone: (K,) accuracy of every original network, with BatchNorm statistics re-estimated like those of the zips.
        beside: accuracy of the original networks together, as in `joint`; NaN if two of them share a class.
        share: (L,) number of parameters of the zipped network divided by that of all K networks.
        images: number of test images.
        counts: (K,) number of test images of each head's classes.
        notes: those of ZipIt! (alpha, beta, images ...), and, for networks with BatchNorm, `reset`, the number of
            training images for the BatchNorm statistics.
    """

    names: tuple[str, ...]
    layers: tuple[str, ...]
    heads: np.ndarray
    joint: np.ndarray
    alone: np.ndarray
    beside: float
    share: np.ndarray
    images: int
    counts: tuple[int, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def deepest(self, most: float) -> int | None:
        """Index of the last layer up to which no head's accuracy falls by more than `most`; None if there is none."""
        within_limit = (self.alone[:, None] - self.heads <= most + ROUNDING).all(0)
        lost = np.flatnonzero(~within_limit)
        last = (int(lost[0]) if len(lost) else len(within_limit)) - 1
        return last if last >= 0 else None
