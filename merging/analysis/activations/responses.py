"""How strongly the units of one layer answer to given images, in several networks, and what can be read off that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from merging.analysis.activations.features import BATCH
from merging.analysis.activations.read import by_unit
from merging.analysis.activations.units import DEAD
from merging.network.data import Batches
from merging.network.graph.graph import Graph, Layer


@dataclass(frozen=True)
class Responses:
    """Of one network's layer to n images. mean, top: (n, U) mean and largest value over positions, float32."""

    mean: Tensor
    top: Tensor

    def strongest(self, count: int) -> Tensor:
        """(count, U) int64: the images of the largest responses of every unit, falling; ties go to the earlier one."""
        return self.top.argsort(dim=0, descending=True, stable=True)[:count]

    def dead(self) -> Tensor:
        """(U,) bool: units that answer all images alike."""
        spread = self.top.double().std(0) + self.mean.double().std(0)
        return ~(spread > DEAD * spread.max())


@torch.no_grad()
def respond(graph: Graph, tensors: Mapping[str, Tensor], layer: Layer, images: Tensor | Batches) -> Responses:
    """The network runs no further than the layer. images: (n, C, H, W), or batches of them. Memory: 2 n U numbers.
    Raises InvalidRequest for a layer that cannot be read image by image."""
    parts: list[tuple[Tensor, Tensor]] = []
    groups = images.split(BATCH) if isinstance(images, Tensor) else (x for x, _ in images.sized(BATCH))
    for group in groups:
        for _, value in graph.walk(tensors, graph.ordered(tensors, group), [layer.node]):
            units = by_unit(value, layer).float()
            parts.append((units.mean(2), units.amax(2)))
    mean, top = zip(*parts, strict=True)
    return Responses(torch.cat(mean), torch.cat(top))


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """(U,) share of the strongest images (k, U) that two networks' units have in common."""
    return (first[:, None] == second[None]).any(1).double().mean(0)


def response_to(responses: Responses, images: Tensor) -> Tensor:
    """(U,) mean of every unit's largest response to its images (k, U), `relative` to all images."""
    return relative(responses.top.double().gather(0, images).mean(0), responses.top)


def relative(value: Tensor, known: Tensor) -> Tensor:
    """Responses (..., U) on a scale where 0 is the mean of the `known` ones (n, U) and 1 the largest; NaN where all
    are equal. A quotient by the largest alone would say nothing of a unit that is not rectified: it may be below 0."""
    mean, most = known.double().mean(0), known.double().amax(0)
    return torch.where(most > mean, (value.double() - mean) / (most - mean), torch.nan)


def correlations(parts: Sequence[Tensor]) -> Tensor:
    """(M, M, U) Pearson correlations over rows of M networks' (n, U) numbers, column by column; NaN if constant."""
    stacked = torch.stack([part.double() for part in parts])
    stacked = stacked - stacked.mean(1, keepdim=True)
    size = stacked.norm(dim=1, keepdim=True)
    unit = torch.where(size > 0, stacked / size, torch.nan)
    return torch.einsum("inu,jnu->iju", unit, unit)


def tuning(responses: Responses, labels: Tensor, classes: int) -> Tensor:
    """(classes, U) mean response, over images of a class, of the means over positions; NaN for a class without any."""
    shown = torch.nn.functional.one_hot(labels, classes).double()
    counts = shown.sum(0)[:, None]
    return torch.where(counts > 0, shown.T @ responses.mean.double() / counts, torch.nan)
