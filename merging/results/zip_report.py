"""What a partial zip found: how well every head does, by where the shared trunk ends. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from merging.errors import InvalidRequest
from merging.results.reports import FORMAT
from merging.results.saving import saved

ROUNDING = 1e-9  # of an accuracy: a loss of just as much as is allowed is not more


def labels_of(classes: Sequence[str], names: Sequence[str], who: str, dataset: str = "the data set") -> list[int]:
    """The data set's label of each output of a network. classes: of its outputs.  names: of the data set.

    Raises InvalidRequest for a network that does not name its classes, names one twice, or one that is not there.
    """
    if not classes or not set(classes) <= set(names):
        told = ", ".join(classes) or "none that it names"
        raise InvalidRequest(f"The classes of {who} are {told}; {dataset} has {', '.join(names)}.")
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if list(classes).count(name) > 1)
        raise InvalidRequest(f"{who} names the class {twice} for two outputs; every output needs a class of its own.")
    return [names.index(name) for name in classes]


@saved
@dataclass(frozen=True)
class ZipReport:
    """K networks zipped up to each of L layers. Accuracies in 0..1 on test images.

    names: "A", "B" ...  layers: where the trunk may end, in network order.  heads: (K, L) of every head, on images of
    its own classes.  joint: (L,) of all heads side by side on all their images; NaN where two heads know one class.
    alone: (K,) of every network, with BatchNorm statistics measured anew as the zips' are; beside: of those side by
    side, or NaN.  share: (L,) the zipped networks' parameters as a share of all networks'.  images: of the test split;
    counts: (K,) of them that each head was asked about, those of its classes.  notes: ZipIt!'s own (alpha, beta, images
    ...), and `reset`, the training images that BatchNorm's statistics are from, where there are any.
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
        """The last layer, as a number, up to which no head loses more than `most` of its accuracy; None where even the
        shortest trunk costs more."""
        kept = (self.alone[:, None] - self.heads <= most + ROUNDING).all(0)
        lost = np.flatnonzero(~kept)
        last = (int(lost[0]) if len(lost) else len(kept)) - 1
        return last if last >= 0 else None
