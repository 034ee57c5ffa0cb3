"""Linear centred kernel alignment (CKA), exact, for all pairs of two networks' layers at once.

CKA = HSIC(x, y) / sqrt(HSIC(x, x) HSIC(y, y)) (Kornblith et al. 2019): never clamped, NaN where a self-HSIC is not
positive. The debiased estimator HSIC_1 (Song et al. 2012, eq. 5) keeps independent wide features from appearing
similar. With centred rows x_i, y_i of n images, and up to a factor that cancels in CKA:

    form      HSIC                                                                                  cost
    features  |X'Y|^2, debiased: - n/(n-2) sum_i |x_i|^2 |y_i|^2 + |X|^2 |Y|^2 / ((n-1)(n-2))       2 n P1 P2 flops
    Grams     tr KL,   debiased: + (1'K1)(1'L1) / ((n-1)(n-2)) - 2/(n-2) 1'KL1, diagonals zeroed    2 n^2 (P + L1 L2)

where P is the number of features of a network and L the number of its layers. Columns are centred first. Products of
centred columns are computed in the precision of the features, and all sums over them in float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from merging.errors import DataUnavailable

COLUMNS = 1024  # features that are multiplied with all others at once: bounds the memory of the product
BLOCK, ROWS = 1024, 64  # columns and rows per block of a Gram's products: a block stays in the processor's cache
ROUNDING = 1e-12  # relative to the biased HSIC: a smaller debiased HSIC counts as 0, as for images at equal distances
GRAM_BYTES = 2**30  # largest total size of a network's Grams; beyond it, features are used instead


@dataclass(frozen=True)
class Features:
    """A network's layers as one matrix of concatenated, centred features.

    Attributes:
        matrix: (n, P) in the precision of the features.
        widths: number of columns of each of the L layers.
        debiased: whether HSIC is estimated without bias.
    """

    matrix: Tensor
    widths: tuple[int, ...]
    debiased: bool

    @cached_property
    def owner(self) -> Tensor:
        """(P,) int64: index of the layer of each column."""
        return torch.repeat_interleave(torch.arange(len(self.widths)), torch.tensor(self.widths)).to(self.matrix.device)

    @cached_property
    def squares(self) -> Tensor:
        """(n, L): |x_i|^2 of every image and layer."""
        squares = self.matrix.double().square()
        return squares.new_zeros(len(squares), len(self.widths)).index_add_(1, self.owner, squares)

    @cached_property
    def own(self) -> Tensor:
        """(L,): HSIC of every layer with itself."""
        blocks = self.matrix.split(self.widths, 1)
        norms = [(x.T @ x if x.shape[1] < len(x) else x @ x.T).double().square_().sum() for x in blocks]
        n, products, sums = len(self.matrix), self.squares.square().sum(0), self.squares.sum(0).square()
        return above_rounding(self._debias(torch.stack(norms), products, sums, n), torch.stack(norms))

    def cross(self, other: Features) -> Tensor:
        """(L1, L2): HSIC of every pair of layers, from one product of the concatenated features."""
        norms = self.squares.new_zeros(len(self.widths), other.matrix.shape[1])
        for columns, owner in zip(self.matrix.split(COLUMNS, 1), self.owner.split(COLUMNS), strict=True):
            norms.index_add_(0, owner, (columns.T @ other.matrix).double().square_())
        norms = norms.new_zeros(len(self.widths), len(other.widths)).index_add_(1, other.owner, norms)
        sums = torch.outer(self.squares.sum(0), other.squares.sum(0))
        return self._debias(norms, self.squares.T @ other.squares, sums, len(self.matrix))

    def _debias(self, norms: Tensor, products: Tensor, sums: Tensor, n: int) -> Tensor:
        return norms - n / (n - 2) * products + sums / ((n - 1) * (n - 2)) if self.debiased else norms


@dataclass(frozen=True)
class Grams:
    """A network's layers as flattened Gram matrices of the features.

    Only the biased estimator needs Grams of centred features; debiasing includes the centring.

    Attributes:
        matrix: (L, n^2) float64.
        images: n.
        debiased: whether HSIC is estimated without bias; the diagonals are then 0.
    """

    matrix: Tensor
    images: int
    debiased: bool

    @cached_property
    def rows(self) -> Tensor:
        """(L, n): K1 of every layer."""
        return self.matrix.view(len(self.matrix), self.images, self.images).sum(2)

    @cached_property
    def sums(self) -> Tensor:
        """(L,): 1'K1 of every layer."""
        return self.rows.sum(1)

    @cached_property
    def own(self) -> Tensor:
        """(L,): HSIC of every layer with itself."""
        norms = self.matrix.square().sum(1)
        return above_rounding(self._debias(norms, self.rows.square().sum(1), self.sums.square()), norms)

    def cross(self, other: Grams) -> Tensor:
        """(L1, L2): HSIC of every pair of layers, from one product of the flattened Grams."""
        return self._debias(self.matrix @ other.matrix.T, self.rows @ other.rows.T, torch.outer(self.sums, other.sums))

    def _debias(self, traces: Tensor, products: Tensor, sums: Tensor) -> Tensor:
        n = self.images
        return traces + sums / ((n - 1) * (n - 2)) - 2 / (n - 2) * products if self.debiased else traces


def similarity(x: Features | Grams, y: Features | Grams) -> np.ndarray:
    """CKA (L1, L2) float64 of every layer of x with every layer of y, both in the same form."""
    return cka_ratio(x.cross(y), x.own, y.own)  # type: ignore[arg-type]


def cka_ratio(
    cross: Float[Tensor, "x y"], own_x: Float[Tensor, " x"], own_y: Float[Tensor, " y"]
) -> Float[np.ndarray, "x y"]:
    """CKA (L1, L2) float64 from HSICs of all layer pairs, (L1, L2), and of layers with themselves, (L1,) and (L2,)."""
    power = torch.outer(own_x, own_y)
    alive = torch.outer(own_x > 0, own_y > 0)
    values = torch.where(alive, cross / power.clamp_min(0).sqrt(), torch.nan)
    cka: np.ndarray = values.cpu().numpy()
    return cka


def represent(layers: Sequence[Tensor], debiased: bool, *, grams: bool | None = None) -> Features | Grams:
    """Represent layers' features (n, p), of equal n, in the cheaper form, or as Grams or Features if `grams` says so.

    Raises DataUnavailable for fewer than 4 images (2 for the biased estimator).
    """
    images, widths = len(layers[0]), [layer.shape[1] for layer in layers]
    if prefers_grams(images, widths) if grams is None else grams:
        return from_grams((gram(layer) for layer in layers), debiased)
    check_images(images, debiased)
    return Features(torch.cat([centred(layer) for layer in layers], 1), tuple(widths), debiased)


def from_grams(grams: Iterable[Tensor], debiased: bool) -> Grams:
    """Build Grams from one Gram matrix (n, n) of centred features per layer, whose diagonal becomes 0 if debiased."""
    matrices = list(grams)
    check_images(len(matrices[0]), debiased)
    if debiased:
        matrices = [one.fill_diagonal_(0) for one in matrices]
    return Grams(torch.stack([one.flatten() for one in matrices]), len(matrices[0]), debiased)


def prefers_grams(images: int, widths: Sequence[int]) -> bool:
    """Whether Grams fit in memory and are cheaper than features for comparing two networks of these layer widths."""
    total, layers = sum(widths), len(widths)
    cheaper = total**2 > images * (2 * total + layers**2)
    return cheaper and 8 * images**2 * layers <= GRAM_BYTES


def gram(features: Float[Tensor, "n p"]) -> Float[Tensor, "n n"]:
    """Gram matrix (n, n) float64 of features (n, p), whose columns are centred first.

    Products of a block of columns are computed in the precision of the features, and summed over blocks in float64.
    """
    images = len(features)
    total = torch.zeros(images, images, dtype=torch.float64, device=features.device)
    for block in features.split(BLOCK, 1):
        columns = centred(block)
        for first in range(0, images, ROWS):  # only the lower triangle: the matrix is symmetric
            last = first + ROWS
            total[first:, first:last] += columns[first:] @ columns[first:last].T
    lower = total.tril()
    return lower + lower.tril(-1).T


def centred(features: Float[Tensor, "n p"]) -> Float[Tensor, "n p"]:
    """Features (n, p) with column means 0, at least float32; a column that varies only by rounding becomes exactly 0.

    Otherwise the rounding noise of dead units would be compared, and such noise may correlate with anything.
    """
    columns = features.to(torch.promote_types(features.dtype, torch.float32))
    mean = columns.mean(0)
    columns = columns - mean
    noise = 64 * torch.finfo(features.dtype).eps ** 2 * mean.square() * len(columns)
    constant = columns.square().sum(0) <= noise  # 15 times faster than the norm along dimension 0
    return columns.masked_fill_(constant, 0) if bool(constant.any()) else columns


def check_images(images: int, debiased: bool) -> None:
    """Raise DataUnavailable where there are too few images for the estimator to be defined."""
    least = 4 if debiased else 2
    if images < least:
        raise DataUnavailable(
            f"CKA of {images} images is not defined; use at least {least}, and a few hundred for a reliable value."
        )


def above_rounding(own: Float[Tensor, " layers"], biased: Float[Tensor, " layers"]) -> Float[Tensor, " layers"]:
    """Self-HSICs (L,), set to 0 where they may be only rounding errors. biased: (L,) by the biased estimator."""
    return torch.where(own > ROUNDING * biased, own, torch.zeros_like(own))
