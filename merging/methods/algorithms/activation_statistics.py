"""First and second moments of two networks' unit activations on the same images, summed batch by batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from merging.methods.problem import Problem
from merging.network.data import Batches
from merging.network.graph.graph import Graph
from merging.network.permutation import PermutationSpec, Site

SITE_BYTES = 1 << 28  # bound on the bytes of one site's activations in float64; batches are split to stay below it
CONSTANT = 1e-10  # ratio of variance to mean square below which a unit counts as constant up to rounding


@dataclass
class Moments:
    """Running sums in float64 for n units of A and n units of B.

    Attributes:
        units: n.
        rows: number of summed rows: one per image and position.
        a, b: (n,) sums of the activations.
        aa, bb: (n,) sums of squares.
        ab: (n, n) sums of products, A's units in rows.
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
        """Add the activations of both networks on the same images. a, b: (rows, n)."""
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
        """Return (n,) bool: True for the units of net "a" or "b" that are constant over the images."""
        return self._std(net) == 0

    def similarity(self, kind: str) -> Tensor:
        """Return the (n, n) similarity of A's units (rows) and B's (columns).

        kind: "pearson" (0 for a constant unit), "product" E[ab], or "distance" -sqrt(E[(a - b)^2]). Without the square
        root, "distance" would have the same best assignment as "product".
        """
        if kind == "product":
            return self.ab / self.rows
        if kind == "distance":
            squared = (self.aa[:, None] + self.bb[None, :] - 2 * self.ab) / self.rows
            return -squared.clamp_min(0).sqrt()
        covariance = torch.addr(self.ab, self.a, self.b, alpha=-1 / self.rows)
        first, second = (torch.where(std > 0, 1 / std, 0.0) for std in (self._std("a"), self._std("b")))
        return covariance.mul_((first / self.rows)[:, None]).mul_(second)  # in place, to avoid two more n^2 matrices

    def _std(self, net: str) -> Tensor:
        total, squares = (self.a, self.aa) if net == "a" else (self.b, self.bb)
        variance = squares / self.rows - (total / self.rows).square()
        return torch.where(variance > CONSTANT * squares / self.rows, variance, 0.0).sqrt()


def stability(first: Float[Tensor, "n m"], second: Float[Tensor, "n m"]) -> float:
    """Return the share of units whose most similar unit is the same in both score matrices.

    first, second: (n, m) similarities, each measured on one half of the images. Units whose scores are all 0 in either
    half are left out; the share is 1 if no unit is left.
    """
    alive = (first != 0).any(1) & (second != 0).any(1)
    same = first.argmax(1) == second.argmax(1)
    return float(same[alive].double().mean()) if alive.any() else 1.0


def sites_by_group(graph: Graph, spec: PermutationSpec, where: str) -> dict[str, tuple[Site, ...]]:
    """Return group -> sites, the places in the graph whose activations are used to compare the group's units.

    A group without a layer of the requested kind (a residual stream that is only summed) is compared at all its sites.
    A group without any site is left out: no activation has its units as single channels (attention heads, the groups of
    a convolution). Activations in which a second dimension is permuted, too, are left out (MLP-Mixer), because that
    dimension has a different order in the two networks.

    Args:
        graph: the graph of the network.
        spec: its groups.
        where: "after" the nonlinearity, at the activation layers; or "before" it, at the norms, or else at the
            convolutions and linear layers.
    """
    along: dict[str, set[int]] = {}
    for site in (site for group in spec.groups for site in group.nodes):
        along.setdefault(site.node, set()).add(site.dim)
    kinds = {layer.node: layer.kind for layer in graph.layers}
    preferred = (("activation",),) if where == "after" else (("norm",), ("conv", "linear"))
    by_group = {}
    for group in spec.groups:
        sites = tuple(site for site in group.nodes if len(along[site.node]) == 1)
        choices = [tuple(site for site in sites if kinds.get(site.node) in kind) for kind in preferred]
        by_group[group.name] = next((choice for choice in choices if choice), sites)
    return {name: sites for name, sites in by_group.items() if sites}


def unit_moments(problem: Problem, sites: Mapping[str, tuple[Site, ...]], data: Batches) -> dict[str, list[Moments]]:
    """Return group -> the moments of its units at each of its sites over all of `data`, in one pass of both networks.

    sites: as from `sites_by_group`. Every position of a feature map is one row: (batch * positions, units).
    """
    nodes = list(dict.fromkeys(site.node for own in sites.values() for site in own))
    sizes = problem.spec.sizes
    moments = {name: [Moments(sizes[name]) for _ in own] for name, own in sites.items()}
    at_node: dict[str, list[tuple[Site, Moments]]] = {node: [] for node in nodes}
    for name, own in sites.items():
        for site, sums in zip(own, moments[name], strict=True):
            at_node[site.node].append((site, sums))
    tensors = tuple(problem.tensors())
    data = data.sized(_batch_size(problem.graph, nodes, data.size)).on_model(problem.models[0])
    for number, (images, _) in enumerate(data):
        with torch.no_grad():
            ordered = problem.graph.ordered(images)
            walks = (problem.graph.walk(t, ordered, nodes) for t in tensors)
            for (node, a), (_, b) in zip(*walks, strict=True):
                for site, sums in at_node[node]:
                    sums.add(_rows(a, site, sums.units), _rows(b, site, sums.units))
        problem.report("matching", (number + 1) / len(data), f"activations of batch {number + 1} of {len(data)}")
    return moments


def _rows(value: Tensor, site: Site, units: int) -> Tensor:
    return value.movedim(site.dim, -1)[..., site.offset : site.offset + units].flatten(0, -2)


def _batch_size(graph: Graph, nodes: list[str], most: int) -> int:
    images = graph.record.values[graph.input][0]
    widest = max((8 * math.prod(graph.record.values[node]) // images for node in nodes), default=1)
    return max(1, min(most, SITE_BYTES // widest))
