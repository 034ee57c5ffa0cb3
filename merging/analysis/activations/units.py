"""Statistics of each unit in several networks: response strength, strongest images, correlation with its match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from merging.analysis.activations.read import by_unit, is_plane
from merging.network.graph.graph import Layer
from merging.results.reports import LayerUnits

DEAD = 1e-6  # relative to the layer's largest standard deviation: a unit that varies less counts as dead
CHUNK = 1 << 19  # numbers centred at once: few enough to stay in the processor's cache


@dataclass(frozen=True)
class Strongest:
    """The k strongest responses so far of U units in M networks, strongest first, ties in the order of the images.

    Attributes:
        value: (M, U, k), the responses.
        image: (M, U, k), number of the image in the pass.
        place: (M, U, k), strongest position, as a flat index into the layer's positions.
    """

    value: Tensor
    image: Tensor
    place: Tensor

    @staticmethod
    def of(units: Sequence[Tensor], first: int, count: int) -> Strongest:
        """Strongest responses of one batch.

        Args:
            units: (n, U, positions) for each network.
            first: number of the batch's first image.
            count: k, the number of responses per unit.
        """
        best = torch.stack([value.amax(2).T for value in units])
        image = best.argsort(dim=2, descending=True, stable=True)[..., :count]
        own = torch.arange(best.shape[1], device=best.device)[:, None]
        place = torch.stack([value[rows, own].argmax(2) for value, rows in zip(units, image, strict=True)])
        return Strongest(best.gather(2, image), image + first, place)

    def merged(self, later: Strongest, count: int) -> Strongest:
        """The `count` strongest responses of `self` and `later`, which comes from later images."""
        both = [torch.cat(pair, 2) for pair in zip(self._parts(), later._parts(), strict=True)]
        order = both[0].argsort(dim=2, descending=True, stable=True)[..., :count]
        return Strongest(*(part.gather(2, order) for part in both))

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.value, self.image, self.place


@dataclass
class UnitTally:
    """Running sums of one layer's U units in M networks, updated batch by batch.

    Memory: M x U x (3 exemplars + 6) numbers.

    Attributes:
        layer: the layer.
        exemplars: number of strongest images per unit.
        images: images counted so far.
        centre: (M, U) provisional mean, from the first batch; subtracting it keeps precision where means are large.
        first, second: (M, U) float64, sums of x - centre and of its square.
        product: (U,) float64, sum of (x_0 - centre_0) (x_1 - centre_1), where 0 and 1 are the first two networks.
        peak: (M, U) largest value, over images, of the mean over positions.
        top: (M, U) float64, sum over images of the largest value over positions.
        most: (M, U) largest value over images and positions.
        strongest: the strongest responses.
    """

    layer: Layer
    exemplars: int
    images: int = 0
    centre: Tensor = field(init=False)
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)
    product: Tensor = field(init=False)
    peak: Tensor = field(init=False)
    top: Tensor = field(init=False)
    most: Tensor = field(init=False)
    strongest: Strongest = field(init=False)

    def add(self, values: Sequence[Tensor], means: Sequence[Tensor]) -> None:
        """Add one batch. values: the layer's value in every network; means: (n, U), its means over positions."""
        units = [by_unit(value, self.layer) for value in values]
        average = torch.stack(list(means))
        strongest = Strongest.of(units, self.images, self.exemplars)
        if self.images:
            self.peak = torch.maximum(self.peak, average.amax(1))
            self.strongest = self.strongest.merged(strongest, self.exemplars)
        else:
            self.centre, self.peak, self.strongest = average.mean(1), average.amax(1), strongest
            self.first, self.second = (torch.zeros_like(self.centre, dtype=torch.float64) for _ in range(2))
            self.top, self.most = torch.zeros_like(self.first), torch.full_like(self.first, -torch.inf)
            self.product = torch.zeros_like(self.first[0])
        largest = torch.stack([value.amax(2) for value in units]).double()
        self.top += largest.sum(1)
        self.most = torch.maximum(self.most, largest.amax(1))
        self.first += (average.double() - self.centre[:, None].double()).sum(1) * units[0].shape[2]
        self._add_products(units)
        self.images += len(units[0])

    def facts(
        self, partner: np.ndarray, models: Sequence[str], order: Tensor | None, patch: float, after: UnitTally
    ) -> LayerUnits:
        """Build the layer's LayerUnits from all batches so far.

        Args:
            partner: (U,) int64, number of B's unit matched to each unit of A.
            models: names of the networks.
            order: (n,) number of each image in the data set; None: 0..n-1.
            patch: share of the image's side that the receptive field of one position covers.
            after: the tally of the nonlinearity that follows the layer, or this tally.
        """
        std, match = self._moments()
        dead = _constant(std) | _constant(after._moments()[0])
        image = self.strongest.image.cpu()
        return LayerUnits(
            layer=self.layer.name,
            kind=self.layer.kind,
            units=self.layer.units,
            positions=self.layer.positions,
            partner=partner,
            match=np.where(dead[0] | dead[1], np.nan, match),
            std=std,
            peak=self.peak.double().cpu().numpy(),
            dead=dead,
            exemplars=(image if order is None else order[image]).numpy(),
            exemplar_values=self.strongest.value.double().cpu().numpy(),
            exemplar_places=_relative(self.strongest.place.cpu().numpy(), self.layer),
            images=self.images,
            patch=patch,
            models=tuple(models),
            seen_mean=(after.top / after.images).cpu().numpy(),
            seen_most=after.most.cpu().numpy(),
        )

    def _add_products(self, units: Sequence[Tensor]) -> None:
        size = max(1, CHUNK // units[0][0].numel())
        for parts in zip(*(value.split(size) for value in units), strict=True):
            centred = [part - centre[:, None] for part, centre in zip(parts, self.centre, strict=True)]
            for net, part in enumerate(centred):
                self.second[net] += torch.linalg.vector_norm(part, dim=2).double().square().sum(0)
            self.product += (centred[0] * centred[1]).sum(2).double().sum(0)

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations (M, U), and Pearson correlations (U,) of the first two networks' units."""
        count = self.images * int(np.prod(self.layer.positions))
        mean, second, product = (sums.cpu().numpy() / count for sums in (self.first, self.second, self.product))
        std = np.sqrt(np.maximum(second - mean**2, 0))
        with np.errstate(invalid="ignore", divide="ignore"):
            return std, (product - mean[0] * mean[1]) / (std[0] * std[1])


def _constant(std: np.ndarray) -> np.ndarray:
    """(M, U) bool, whether a unit's responses do not vary. std: (M, U)."""
    return ~(std > DEAD * std.max(1, initial=0.0, keepdims=True))


def _relative(places: np.ndarray, layer: Layer) -> np.ndarray:
    """Centres of positions as (row, column) in 0..1, (..., 2); the image's centre if positions do not form a plane."""
    if not is_plane(layer):
        return np.full((*places.shape, 2), 0.5)
    indices = np.unravel_index(places, layer.positions)
    centres = [(index + 0.5) / size for index, size in zip(indices, layer.positions, strict=True)]
    return np.stack(centres, -1)
