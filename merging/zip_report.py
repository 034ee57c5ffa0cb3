"""What a partial zip found: how well every head does, by where the shared trunk ends. No tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from merging.results import FORMAT, saved


@saved
@dataclass(frozen=True)
class ZipReport:
    """K networks zipped up to each of L layers. Accuracies in 0..1 on test images.

    names: "A", "B" ...  layers: where the trunk may end, in network order.  heads: (K, L) of every head, on images of
    its own classes.  joint: (L,) of all heads side by side on all their images; NaN where two heads know one class.
    alone: (K,) of every network; beside: of the networks side by side, or NaN.  share: (L,) the zipped networks'
    parameters as a share of all networks'.  images: of the test split.  notes: ZipIt!'s own (alpha, beta, images ...).
    """

    request: dict[str, Any]
    names: tuple[str, ...]
    layers: tuple[str, ...]
    heads: np.ndarray
    joint: np.ndarray
    alone: np.ndarray
    beside: float
    share: np.ndarray
    images: int
    notes: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def deepest(self, most: float) -> int | None:
        """The last layer, as a number, up to which no head loses more than `most` of its accuracy; None where even the
        shortest trunk costs more."""
        kept = (self.alone[:, None] - self.heads <= most).all(0)
        lost = np.flatnonzero(~kept)
        last = (int(lost[0]) if len(lost) else len(kept)) - 1
        return last if last >= 0 else None
