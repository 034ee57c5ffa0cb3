"""Similarity measures of two layers: linear CKA and others, each insensitive to a different kind of change.

All take features (n, p) of the same n images and centre them. A value of 1 means equal, about 0 unrelated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from merging.analysis.similarity.hsic import centred, check_images, gram, represent, similarity
from merging.errors import DataUnavailable

NEIGHBOURS = 10
VARIANCE = 0.99  # share of the variance that SVCCA keeps
BANDWIDTH = 0.5  # bandwidth of the RBF kernel, relative to the median distance (Kornblith et al. 2019, sec. 4)


@dataclass(frozen=True)
class Side:
    """One network's features of one layer, (n, p), with the quantities that several measures share."""

    features: Tensor

    @cached_property
    def centred(self) -> Tensor:
        """Features with column means 0, (n, min(n, p)) float64.

        Features wider than n are replaced by their principal components. This changes no measure, because all
        measures are invariant to rotations.
        """
        columns = centred(self.features).double()
        if columns.shape[1] <= len(columns):
            return columns
        values, vectors = torch.linalg.eigh(gram(columns))
        return vectors * values.clamp_min(0).sqrt()

    @cached_property
    def decomposed(self) -> tuple[Tensor, Tensor]:
        """Principal components (n, r), orthonormal, and singular values (r,), largest first."""
        u, s, _ = torch.linalg.svd(self.centred, full_matrices=False)
        return u, s

    @cached_property
    def distances(self) -> Tensor:
        """(n, n) squared Euclidean distances."""
        products = self.centred @ self.centred.T
        squares = products.diagonal()
        return (squares[:, None] + squares - 2 * products).clamp_min_(0)

    @cached_property
    def neighbours(self) -> Tensor:
        """(n, n) bool: whether image j is among the 10 nearest images of image i."""
        far = self.distances.clone().fill_diagonal_(torch.inf)
        nearest = far.topk(min(NEIGHBOURS, len(far) - 1), dim=1, largest=False, sorted=False).indices
        return torch.zeros_like(far, dtype=torch.bool).scatter_(1, nearest, True)

    @cached_property
    def rbf(self) -> Tensor:
        """Centred Gram (n, n) of the kernel exp(-d^2 / (2 s^2)); the bandwidth s is half the median distance d.

        The median is that of `distances`, which are d^2: s^2 = BANDWIDTH^2 times their median.
        """
        middle = float(np.median(self.distances.cpu().numpy()))
        kernel = torch.exp(-self.distances / (2 * BANDWIDTH**2 * middle)) if middle > 0 else self.distances * 0 + 1
        kernel = kernel - kernel.mean(0)
        return kernel - kernel.mean(1, keepdim=True)

    @cached_property
    def leverage(self) -> Tensor:
        """Leverage (n,) of each image: its share of the squared length of all centred features."""
        squares = self.centred.square().sum(1)
        total = squares.sum()
        return squares / total if total > 0 else squares

    @property
    def first_component(self) -> float:
        """Share of the variance in the first principal component; NaN where nothing varies."""
        columns = self.centred
        power = torch.linalg.eigvalsh(columns.T @ columns)
        return float(power[-1] / power.sum()) if power.sum() > 0 else float("nan")


def cka_debiased(x: Side, y: Side) -> float:
    """Linear CKA by the debiased estimator (Song et al. 2012, eq. 5)."""
    return _linear(x, y, debiased=True)


def cka_biased(x: Side, y: Side) -> float:
    """Linear CKA by the biased estimator (Kornblith et al. 2019), which is too high for wide features."""
    return _linear(x, y, debiased=False)


def cka_rbf(x: Side, y: Side) -> float:
    """Biased CKA with an RBF kernel whose bandwidth is half the median distance (Kornblith et al. 2019, sec. 4)."""
    own = [float((side.rbf * side.rbf).sum()) for side in (x, y)]
    return float((x.rbf * y.rbf).sum()) / (own[0] * own[1]) ** 0.5 if min(own) > 0 else float("nan")


def procrustes(x: Side, y: Side) -> float:
    """Procrustes similarity |X'Y|_* / (|X| |Y|), the fit after the best rotation and scale (Williams et al. 2021)."""
    size = float(x.centred.norm() * y.centred.norm())
    return float(torch.linalg.svdvals(x.centred.T @ y.centred).sum()) / size if size > 0 else float("nan")


def svcca(x: Side, y: Side) -> float:
    """Mean canonical correlation of the components that hold 99 % of the variance (Raghu et al. 2017)."""
    components = [_kept(side) for side in (x, y)]
    least = min(part.shape[1] for part in components)
    return float(torch.linalg.svdvals(components[0].T @ components[1])[:least].mean()) if least else float("nan")


def mutual_neighbours(x: Side, y: Side) -> float:
    """Share of each image's 10 nearest neighbours that both layers have in common (Huh et al. 2024)."""
    return float((x.neighbours & y.neighbours).sum() / x.neighbours.sum())


def trimmed_cka(x: Side, y: Side, share: float = 0.01) -> float:
    """Debiased CKA without the images in the top `share` by leverage in either layer (after Davari et al. 2023)."""
    count = max(1, round(share * len(x.features)))
    mask = torch.ones(len(x.features), dtype=torch.bool, device=x.features.device)
    for side in (x, y):
        mask[side.leverage.argsort(descending=True, stable=True)[:count]] = False
    return cka_debiased(*(Side(side.centred[mask]) for side in (x, y)))


MEASURES: dict[str, tuple[str, Callable[[Side, Side], float]]] = {
    "cka": ("Linear CKA, debiased", cka_debiased),
    "cka-biased": ("Linear CKA, biased", cka_biased),
    "cka-trimmed": ("Linear CKA without the top 1 % of images", trimmed_cka),
    "cka-rbf": ("RBF CKA", cka_rbf),
    "procrustes": ("Procrustes", procrustes),
    "svcca": ("SVCCA", svcca),
    "knn": ("Mutual 10 nearest neighbours", mutual_neighbours),
}


def map_of(key: str, rows: Sequence[Side], columns: Sequence[Side]) -> np.ndarray:
    """Compute measure `key` of all pairs of layers: (rows, columns) float64. Raises DataUnavailable below 12 images."""
    if len(rows[0].features) < NEIGHBOURS + 2:
        raise DataUnavailable(f"Use at least {NEIGHBOURS + 2} images, and a few hundred for reliable values.")
    return np.array([[MEASURES[key][1](row, column) for column in columns] for row in rows])


def _linear(x: Side, y: Side, *, debiased: bool) -> float:
    check_images(len(x.features), debiased)
    forms = [represent([side.centred], debiased, grams=False) for side in (x, y)]
    return float(similarity(*forms)[0, 0])


def _kept(side: Side) -> Tensor:
    components, values = side.decomposed
    power = values.square()
    if not power.sum() > 0:
        return components[:, :0]
    count = int((power.cumsum(0) < VARIANCE * power.sum()).sum()) + 1
    return components[:, :count]
