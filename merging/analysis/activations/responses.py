"""Responses of one layer's units to images, and quantities computed from the responses of several networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from merging.analysis.activations.features import BATCH
from merging.analysis.activations.read import after_nonlinearity, by_unit
from merging.analysis.activations.units import DEAD
from merging.network.data import Batches
from merging.network.graph.graph import Graph, Layer


@dataclass(frozen=True)
class Responses:
    """Responses of one layer of one network to n images.

    Attributes:
        mean: (n, U) float32, mean over positions.
        top: (n, U) float32, largest value over positions.
        seen: (n, U) float32, largest value over positions after the nonlinearity that follows the layer, if one does.
    """

    mean: Tensor
    top: Tensor
    seen: Tensor

    def strongest(self, count: int) -> Tensor:
        """Numbers of the images that each unit responds to most, (count, U) int64, strongest first, ties by number."""
        return self.top.argsort(dim=0, descending=True, stable=True)[:count]

    def dead(self) -> Tensor:
        """(U,) bool: units whose response, before or after the nonlinearity, is the same for all images.

        Responses are the same if their spread is within 1e-6 of the layer's largest.
        """
        spreads = (self.top.double().std(0) + self.mean.double().std(0), self.seen.double().std(0))
        return torch.stack([~(spread > DEAD * spread.max()) for spread in spreads]).any(0)


@torch.no_grad()
def respond(graph: Graph, tensors: Mapping[str, Tensor], layer: Layer, images: Tensor | Batches) -> Responses:
    """Compute the responses of one layer; the network runs only up to its nonlinearity. Memory: 3 n U numbers.

    images: (n, C, H, W), or batches of them. Raises InvalidRequest for a layer that cannot be read image by image.
    """
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    after = after_nonlinearity(graph, layer)
    groups = images.split(BATCH) if isinstance(images, Tensor) else (x for x, _ in images.sized(BATCH))
    for group in groups:
        for node, value in graph.walk(tensors, graph.ordered(group), [layer.node, after.node]):
            units = by_unit(value, layer if node == layer.node else after).float()
            if node == layer.node:
                mean, top = units.mean(2), units.amax(2)
        parts.append((mean, top, units.amax(2)))
    means, tops, seen = map(torch.cat, zip(*parts, strict=True))
    return Responses(means, tops, seen)


def overlap(first: Int[Tensor, "k units"], second: Int[Tensor, "k units"]) -> Float[Tensor, " units"]:
    """Share (U,) of each unit's k strongest images that two networks have in common. first, second: (k, U)."""
    return (first[:, None] == second[None]).any(1).double().mean(0)


def response_to(responses: Responses, images: Int[Tensor, "k units"]) -> Float[Tensor, " units"]:
    """Return (U,): each unit's response `seen`, averaged over k images, on the scale of `relative`.

    images: (k, U) image numbers per unit, such as the strongest images of another network's units.
    """
    return relative(responses.seen.double().gather(0, images).mean(0), responses.seen)


def relative(value: Float[Tensor, "*rows units"], known: Float[Tensor, "n units"]) -> Float[Tensor, "*rows units"]:
    """Rescale responses (..., U) so that 0 is the mean and 1 the largest of the reference responses `known` (n, U).

    NaN where all of `known` are equal. Dividing by the largest response alone would fail for a unit without
    rectification, because its largest response may be negative.
    """
    mean, most = known.double().mean(0), known.double().amax(0)
    return torch.where(most > mean, (value.double() - mean) / (most - mean), torch.nan)


def correlations(parts: Sequence[Float[Tensor, "n units"]]) -> Float[Tensor, "networks networks units"]:
    """Pearson correlations (M, M, U) over n rows between M networks' values (n, U), per unit; NaN if constant."""
    stacked = torch.stack([part.double() for part in parts])
    stacked = stacked - stacked.mean(1, keepdim=True)
    size = stacked.norm(dim=1, keepdim=True)
    unit = torch.where(size > 0, stacked / size, torch.nan)
    return torch.einsum("inu,jnu->iju", unit, unit)


def tuning(responses: Responses, labels: Int[Tensor, " n"], classes: int) -> Float[Tensor, "{classes} units"]:
    """Mean response (classes, U) to each class's images, from means over positions; NaN for a class without images."""
    membership = torch.nn.functional.one_hot(labels, classes).double()
    counts = membership.sum(0)[:, None]
    return torch.where(counts > 0, membership.T @ responses.mean.double() / counts, torch.nan)
