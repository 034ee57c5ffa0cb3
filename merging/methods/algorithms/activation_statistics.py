"""How two nets' units respond to the same images: first and second moments, summed batch by batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from merging.methods.problem import Problem
from merging.network.data import Batches
from merging.network.graph.graph import Graph
from merging.network.permutation import PermutationSpec, Site

SITE_BYTES = 1 << 28  # of one site's activations in float64: the batch is made smaller where it needs more
CONSTANT = 1e-10  # variance over mean square below which a unit is constant but for rounding


@dataclass
class Moments:
    """Running sums over `rows` images and positions for n units of A and of B, in float64.

    a, b: (n,) sums; aa, bb: (n,) sums of squares; ab: (n, n) sums of products.
    """

    units: int
    rows: int = 0
    a: Tensor = field(init=False)
    b: Tensor = field(init=False)
    aa: Tensor = field(init=False)
    bb: Tensor = field(init=False)
    ab: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.a, self.b, self.aa, self.bb = (torch.zeros(self.units, dtype=torch.float64) for _ in range(4))
        self.ab = torch.zeros(self.units, self.units, dtype=torch.float64)

    def add(self, a: Tensor, b: Tensor) -> None:
        """Count in the same rows of both nets. a, b: (rows, n)."""
        a, b = a.double(), b.double()
        self.rows += len(a)
        self.a += a.sum(0).cpu()
        self.b += b.sum(0).cpu()
        self.aa += a.square().sum(0).cpu()
        self.bb += b.square().sum(0).cpu()
        self.ab += (a.T @ b).cpu()

    def __add__(self, other: Moments) -> Moments:
        both = Moments(self.units, self.rows + other.rows)
        for name in ("a", "b", "aa", "bb", "ab"):
            setattr(both, name, getattr(self, name) + getattr(other, name))
        return both

    def constant(self, net: str) -> Tensor:
        """(n,) bool: which units of "a" or "b" do not vary over the images."""
        return self._std(net) == 0

    def similarity(self, kind: str) -> Tensor:
        """(n, n) of A's units by B's. kind: "pearson" (0 for a unit that does not vary), "product" E[ab], or
        "distance" -sqrt(E[(a - b)^2]); unrooted, its best assignment would be that of "product"."""
        if kind == "product":
            return self.ab / self.rows
        if kind == "distance":
            squared = (self.aa[:, None] + self.bb[None, :] - 2 * self.ab) / self.rows
            return -squared.clamp_min(0).sqrt()
        covariance = torch.addr(self.ab, self.a, self.b, alpha=-1 / self.rows)
        first, second = (torch.where(std > 0, 1 / std, 0.0) for std in (self._std("a"), self._std("b")))
        return covariance.mul_((first / self.rows)[:, None]).mul_(second)  # in place: n^2 numbers, three times

    def _std(self, net: str) -> Tensor:
        total, squares = (self.a, self.aa) if net == "a" else (self.b, self.bb)
        variance = squares / self.rows - (total / self.rows).square()
        return torch.where(variance > CONSTANT * squares / self.rows, variance, 0.0).sqrt()


def stability(first: Tensor, second: Tensor) -> float:
    """Share of units whose most similar unit is the same by both scores (n, m), of half the images each; units that
    are like none (all 0) are left out, and 1 is given where there are no others."""
    alive = (first != 0).any(1) & (second != 0).any(1)
    same = first.argmax(1) == second.argmax(1)
    return float(same[alive].double().mean()) if alive.any() else 1.0


def sites_by_group(graph: Graph, spec: PermutationSpec, where: str) -> dict[str, tuple[Site, ...]]:
    """Group -> the places where its units are compared.

    where: "after" the nonlinearity: its activation layers; "before": its norms, or else its convolutions and linear
    layers. A group that has none of these (a stream that is only summed) is compared at all its sites; one that no
    value shows unit by unit, as heads and the groups of a convolution, is left out. So are values with units along a
    second dimension, as in an MLP-Mixer: the two networks have these in different orders.
    """
    along: dict[str, set[int]] = {}
    for site in (site for group in spec.groups for site in group.nodes):
        along.setdefault(site.node, set()).add(site.dim)
    kinds = {layer.node: layer.kind for layer in graph.layers}
    wanted = (("activation",),) if where == "after" else (("norm",), ("conv", "linear"))
    found = {}
    for group in spec.groups:
        sites = tuple(site for site in group.nodes if len(along[site.node]) == 1)
        choices = [tuple(site for site in sites if kinds.get(site.node) in kind) for kind in wanted]
        found[group.name] = next((chosen for chosen in choices if chosen), sites)
    return {name: sites for name, sites in found.items() if sites}


def unit_moments(problem: Problem, sites: Mapping[str, tuple[Site, ...]], data: Batches) -> dict[str, list[Moments]]:
    """Group -> the moments of its units at each of its sites, over all of `data`, in one pass through both nets.

    sites: as from `sites_by_group`. Convolutional activations count every position: (batch * positions, units).
    """
    nodes = list(dict.fromkeys(site.node for chosen in sites.values() for site in chosen))
    sizes = problem.spec.sizes
    moments = {name: [Moments(sizes[name]) for _ in chosen] for name, chosen in sites.items()}
    at_node: dict[str, list[tuple[Site, Moments]]] = {node: [] for node in nodes}
    for name, chosen in sites.items():
        for site, found in zip(chosen, moments[name], strict=True):
            at_node[site.node].append((site, found))
    tensors = tuple(problem.tensors())
    data = data.sized(_batch_size(problem.graph, nodes, data.size)).on_model(problem.models[0])
    for number, (images, _) in enumerate(data):
        with torch.no_grad():
            ordered = problem.graph.ordered(tensors[0], images)
            walks = (problem.graph.walk(t, ordered, nodes) for t in tensors)
            for (node, a), (_, b) in zip(*walks, strict=True):
                for site, found in at_node[node]:
                    found.add(_rows(a, site, found.units), _rows(b, site, found.units))
        problem.report("matching", (number + 1) / len(data), f"activations of batch {number + 1} of {len(data)}")
    return moments


def _rows(value: Tensor, site: Site, units: int) -> Tensor:
    return value.movedim(site.dim, -1)[..., site.offset : site.offset + units].flatten(0, -2)


def _batch_size(graph: Graph, nodes: list[str], most: int) -> int:
    images = graph.record.values[graph.input][0]
    widest = max((8 * math.prod(graph.record.values[node]) // images for node in nodes), default=1)
    return max(1, min(most, SITE_BYTES // widest))
