"""Covariance of the units of several networks over the same images: one joint matrix per group."""

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
    """Running sums in float64 over the units of all networks side by side.

    Attributes:
        sizes: number of units per network, U in total.
        rows: number of summed rows: one per image and position.
        total: (U,) sums of the activations.
        products: (U, U) sums of products.
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
        """Add the activations of all networks on the same images. values: one (rows, units) per network."""
        together = torch.cat([value.double() for value in values], 1)
        self.rows += len(together)
        self.total += together.sum(0).cpu()
        self.products += (together.T @ together).cpu()

    def __add__(self, other: JointMoments) -> JointMoments:
        both = JointMoments(self.sizes, self.rows + other.rows)
        both.total, both.products = self.total + other.total, self.products + other.products
        return both

    def covariance(self) -> Tensor:
        """Return the covariance matrix, (U, U); 0 for a constant unit."""
        mean = self.total / max(1, self.rows)
        return self.products / max(1, self.rows) - torch.outer(mean, mean)

    def constant(self) -> Tensor:
        """Return (U,) bool: True for units that are constant over the images up to rounding."""
        squares = self.products.diagonal() / max(1, self.rows)
        return self.covariance().diagonal() <= CONSTANT * squares

    def correlation(self) -> Tensor:
        """Return Pearson correlations, (U, U); 0 between a constant and a varying unit, 1 between two constant ones."""
        covariance, still = self.covariance(), self.constant()
        std = torch.where(still, 1.0, covariance.diagonal().clamp_min(0)).sqrt()
        pearson = torch.where(still[:, None] | still, 0.0, covariance / torch.outer(std, std))
        return torch.where(still[:, None] & still, 1.0, pearson)

    def distances(self) -> Tensor:
        """Return E[(a - b)^2], (units of network 0, units of network 1)."""
        second = self.products / max(1, self.rows)
        size, squares = self.sizes[0], second.diagonal()
        return (squares[:size, None] + squares[None, size:] - 2 * second[:size, size:]).clamp_min(0)


def halves(problem: Problem, data: Batches, where: str) -> dict[str, tuple[JointMoments, JointMoments]]:
    """Return group -> the moments of all models' units over the even and over the odd batches of `data`, in one pass.

    The moments of a group are summed over its sites; a group without a site is left out. Models may differ in width.
    The two halves are used to measure how stable a match is.
    Memory: two float64 matrices (U, U) per group (U: number of units of all models), and the activations of a batch.

    Args:
        problem: the models with their structures.
        data: the images to run.
        where: "after" or "before" the nonlinearity, as for `sites_by_group`.
    """
    structures = [problem.structure(number) for number in range(len(problem.models))]
    sites = [sites_by_group(graph, spec, where) for graph, spec in structures]
    moments = {}
    for name in sites[0]:
        sizes = tuple(spec.sizes[name] for _, spec in structures)
        moments[name] = (JointMoments(sizes), JointMoments(sizes))
    places: list[list[tuple[str, Site]]] = [[(n, s) for n in moments for s in of_model[n]] for of_model in sites]
    data = data.sized(_batch_size(problem, places, data)).on_model(problem.models[0])
    for number, (images, _) in enumerate(data):
        with torch.no_grad():
            activations = [_rows(problem, index, own, images) for index, own in enumerate(places)]
        for place, (name, _) in enumerate(places[0]):
            moments[name][number % 2].add([rows[place] for rows in activations])
        problem.report("matching", (number + 1) / len(data), f"activations of batch {number + 1} of {len(data)}")
    return moments


def _rows(problem: Problem, model: int, places: list[tuple[str, Site]], images: Tensor) -> list[Tensor]:
    """Return one model's activations at every (group, site) of `places`, (images * positions, units) each."""
    graph, spec = problem.structure(model)
    _, values = graph.run(named_tensors(problem.models[model]), images, keep=[site.node for _, site in places])
    return [
        values[s.node].movedim(s.dim, -1)[..., s.offset : s.offset + spec.sizes[n]].flatten(0, -2) for n, s in places
    ]


def _batch_size(problem: Problem, places: list[list[tuple[str, Site]]], data: Batches) -> int:
    """Return a batch size that fits the activations into memory and gives 2 or more batches for 2 or more images."""
    each = 0
    for number, own in enumerate(places):
        graph, _ = problem.structure(number)
        each += sum(8 * math.prod(graph.record.values[site.node][1:]) for _, site in own)
    return max(1, min(data.size, SITE_BYTES // max(1, each), -(-data.count // 2)))
