"""How the units of several nets vary together over the same images: one covariance of all of them, a group."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from merging.methods.algorithms.activation_statistics import CONSTANT, SITE_BYTES, sites_by_group
from merging.methods.problem import Problem
from merging.network.data import Batches
from merging.network.permutation import Site, named_tensors


@dataclass
class JointMoments:
    """Running sums over `rows` images and positions of all nets' units side by side, in float64.

    sizes: units of each net, U in all.  total: (U,) sums.  products: (U, U) sums of products.
    """

    sizes: tuple[int, ...]
    rows: int = 0
    total: Tensor = field(init=False)
    products: Tensor = field(init=False)

    def __post_init__(self) -> None:
        units = sum(self.sizes)
        self.total = torch.zeros(units, dtype=torch.float64)
        self.products = torch.zeros(units, units, dtype=torch.float64)

    def add(self, values: list[Tensor]) -> None:
        """Count in the same rows of every net. values: one (rows, units) a net."""
        together = torch.cat([value.double() for value in values], 1)
        self.rows += len(together)
        self.total += together.sum(0).cpu()
        self.products += (together.T @ together).cpu()

    def __add__(self, other: JointMoments) -> JointMoments:
        both = JointMoments(self.sizes, self.rows + other.rows)
        both.total, both.products = self.total + other.total, self.products + other.products
        return both

    def covariance(self) -> Tensor:
        """(U, U), symmetric; 0 for a unit that does not vary."""
        mean = self.total / max(1, self.rows)
        return self.products / max(1, self.rows) - torch.outer(mean, mean)

    def constant(self) -> Tensor:
        """(U,) bool: which units do not vary over the images, but for rounding."""
        squares = self.products.diagonal() / max(1, self.rows)
        return self.covariance().diagonal() <= CONSTANT * squares

    def correlation(self) -> Tensor:
        """(U, U) Pearson correlations; 0 for a unit that does not vary, and 1 between two that do not: both say
        nothing."""
        covariance, still = self.covariance(), self.constant()
        std = torch.where(still, 1.0, covariance.diagonal().clamp_min(0)).sqrt()
        found = torch.where(still[:, None] | still, 0.0, covariance / torch.outer(std, std))
        return torch.where(still[:, None] & still, 1.0, found)

    def distances(self) -> Tensor:
        """(units of net 0, units of net 1): E[(a - b)^2]."""
        second = self.products / max(1, self.rows)
        size, squares = self.sizes[0], second.diagonal()
        return (squares[:size, None] + squares[None, size:] - 2 * second[:size, size:]).clamp_min(0)


def halves(problem: Problem, data: Batches, where: str) -> dict[str, tuple[JointMoments, JointMoments]]:
    """Group -> the moments of all models' units over every other batch of `data` and over the rest, in one pass.

    where: "after" or "before" the nonlinearity, as for `sites_by_group`; a group with several such sites adds them up;
    one without any is left out. Models may differ in their widths. Two halves tell how stable an answer is.
    Memory: two matrices (U, U) in float64 a group, U the units of all models together, and a batch's activations.
    """
    structures = [problem.structure(number) for number in range(len(problem.models))]
    sites = [sites_by_group(graph, spec, where) for graph, spec in structures]
    found = {}
    for name in sites[0]:
        sizes = tuple(spec.sizes[name] for _, spec in structures)
        found[name] = (JointMoments(sizes), JointMoments(sizes))
    places: list[list[tuple[str, Site]]] = [[(n, s) for n in found for s in of_model[n]] for of_model in sites]
    data = data.sized(_batch_size(problem, places, data)).on_model(problem.models[0])
    for number, (images, _) in enumerate(data):
        with torch.no_grad():
            seen = [_rows(problem, index, chosen, images) for index, chosen in enumerate(places)]
        for place, (name, _) in enumerate(places[0]):
            found[name][number % 2].add([rows[place] for rows in seen])
        problem.report("matching", (number + 1) / len(data), f"activations of batch {number + 1} of {len(data)}")
    return found


def _rows(problem: Problem, model: int, places: list[tuple[str, Site]], images: Tensor) -> list[Tensor]:
    """(images * positions, units) at every place, of one model."""
    graph, spec = problem.structure(model)
    _, kept = graph.run(named_tensors(problem.models[model]), images, keep=[site.node for _, site in places])
    return [kept[s.node].movedim(s.dim, -1)[..., s.offset : s.offset + spec.sizes[n]].flatten(0, -2) for n, s in places]


def _batch_size(problem: Problem, places: list[list[tuple[str, Site]]], data: Batches) -> int:
    """So that a batch's kept activations fit, and there are two batches or more where there are two images."""
    each = 0
    for number, chosen in enumerate(places):
        graph, _ = problem.structure(number)
        each += sum(8 * math.prod(graph.record.values[site.node][1:]) for _, site in chosen)
    return max(1, min(data.size, SITE_BYTES // max(1, each), -(-data.count // 2)))
