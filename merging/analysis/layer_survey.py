"""One pass over the images that measures the similarity of layers and the statistics of every unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from merging.analysis.activations.features import BATCH, read_layers
from merging.analysis.activations.read import (
    after_nonlinearity,
    groups_by_node,
    named_layers,
    pooled,
    walk_together,
)
from merging.analysis.activations.receptive import receptive_shares
from merging.analysis.activations.units import UnitTally
from merging.analysis.similarity.cka import as_map, is_debiased, represent_alike
from merging.analysis.similarity.hsic import check_images, similarity
from merging.errors import InvalidRequest
from merging.network.data import Batches, as_batches
from merging.network.graph.graph import Graph, Layer
from merging.network.permutation import Permutation, PermutationSpec
from merging.progress import Progress, no_progress
from merging.results.reports import LayerUnits, SimilarityMap

Nets = Mapping[str, Mapping[str, Tensor]]  # "A", "pi(B)", optionally "merge" and "naive" -> tensors, in display order
MAPS = {"A-B": ("A", "B"), "A-pi(B)": ("A", "pi(B)"), "A-merge": ("A", "merge"), "B-merge": ("B", "merge")}


@dataclass(frozen=True)
class Survey:
    """Result of `analyse`.

    Attributes:
        similarity: key of MAPS -> SimilarityMap; the pairs with "merge" only if that network is given.
        units: one LayerUnits per layer whose units form a group of the permutation spec.
    """

    similarity: dict[str, SimilarityMap]
    units: tuple[LayerUnits, ...]


def analyse(
    graph: Graph,
    nets: Nets,
    permutation: Permutation,
    spec: PermutationSpec,
    data: Any,
    *,
    layers: Sequence[str] | None = None,
    estimator: str = "debiased",
    exemplars: int = 9,
    b: tuple[Graph, Mapping[str, Tensor]] | None = None,
    report: Progress | None = None,
) -> Survey:
    """Measure pooled layers' similarity and all units' statistics in one pass, for networks of one structure.

    Pooled CKA does not depend on the order of units, and pi(B) has B's units in another order. So "A-B" and "A-pi(B)"
    hold equal values, "B-merge" is computed from pi(B), and B itself is not run.
    Memory: networks x images x pooled features (float32, plus float64 during the comparison), and the outputs of a few
    layers for 64 images in every network. Raises UnknownLayer, InvalidSetting, InvalidRequest, DataUnavailable.

    Args:
        nets: name -> tensors, with A first and pi(B) second.
        permutation: B's permutation that gives pi(B), group name -> (units,).
        layers: torch names of the layers whose similarity is measured (default: all).
        exemplars: number of strongest images to find per unit.
        b: B's graph and tensors, given only where the alignment mixed B's units instead of permuting them; B is then
            run as well.
    """
    debiased, batches = is_debiased(estimator), as_batches(data)
    check_images(batches.count, debiased)
    selection = named_layers(graph, layers)
    features: Pooled = {layer.node: [[] for _ in nets] for layer in selection}
    units = _look(graph, nets, permutation, spec, batches, features, exemplars, report)
    by_net = {name: [torch.cat(parts[at]) for parts in features.values()] for at, name in enumerate(nets)}
    if b is not None:
        by_net["B"] = read_layers(*b, batches, named_layers(b[0], [layer.name for layer in selection]))
    forms = dict(zip(by_net, represent_alike(list(by_net.values()), debiased), strict=True))
    pairs = {name: tuple(n if n in forms else "pi(B)" if n == "B" else n for n in pair) for name, pair in MAPS.items()}
    values = {pair: similarity(forms[pair[0]], forms[pair[1]]) for pair in {*pairs.values()} if forms.keys() >= {*pair}}
    maps = {}
    for name, pair in pairs.items():
        if pair in values:
            row, _, column = name.partition("-")
            maps[name] = as_map(values[pair], selection, selection, (row, column), estimator, batches.count)
    return Survey(maps, units)


def unit_facts(
    graph: Graph,
    nets: Nets,
    permutation: Permutation,
    spec: PermutationSpec,
    data: Any,
    *,
    exemplars: int = 9,
    report: Progress | None = None,
) -> tuple[LayerUnits, ...]:
    """Measure all units of each layer whose units form a group, in network order; arguments as for `analyse`.

    Exemplars are numbered as in the full data set, even if `data` is a sample, and ranked by the response at the
    strongest position. `match` is NaN where either unit is dead, that is, where its standard deviation, before or after
    the nonlinearity that follows, is below 1e-6 of the layer's largest in that network; an example is a ReLU unit that
    is never positive. Memory: the outputs of a few layers for 64 images per network.
    """
    return _look(graph, nets, permutation, spec, as_batches(data), {}, exemplars, report)


def unmeasured_units(graph: Graph, permutation: Permutation, spec: PermutationSpec) -> tuple[LayerUnits, ...]:
    """Return every unit's partner without any images: all statistics are NaN, and no unit counts as dead.

    permutation: of B, group name -> (units,). Returns one LayerUnits, with images = 0, per layer whose units form a
    group, in network order.
    """
    groups = groups_by_node(graph, spec)
    return tuple(
        _unmeasured(layer, permutation[groups[layer.node]].cpu().numpy())
        for layer in graph.layers
        if layer.node in groups
    )


def _unmeasured(layer: Layer, partner: np.ndarray) -> LayerUnits:
    unknown, none = np.full((4, layer.units), np.nan), np.zeros((4, layer.units, 0))
    return LayerUnits(
        layer=layer.name,
        kind=layer.kind,
        units=layer.units,
        positions=layer.positions,
        partner=partner,
        match=unknown[0],
        std=unknown,
        peak=unknown,
        dead=np.zeros((4, layer.units), bool),
        exemplars=none.astype(np.int64),
        exemplar_values=none,
        exemplar_places=none[..., None].repeat(2, -1),
        images=0,
    )


Pooled = dict[str, list[list[Tensor]]]  # layer node -> network -> one (n, U) of pooled features per batch


@torch.no_grad()
def _look(
    graph: Graph,
    nets: Nets,
    permutation: Permutation,
    spec: PermutationSpec,
    batches: Batches,
    features: Pooled,
    exemplars: int,
    report: Progress | None,
) -> tuple[LayerUnits, ...]:
    """Run one pass: fill `features` for the layers among its keys, and return the statistics of the units."""
    if len(nets) < 2:
        raise InvalidRequest("Units can only be compared between at least two networks; give A first and pi(B) second.")
    groups = groups_by_node(graph, spec)
    readable = named_layers(graph, None)
    tallies = {layer.node: UnitTally(layer, exemplars) for layer in readable if layer.node in groups}
    to_read = [layer for layer in readable if layer.node in features or layer.node in tallies]
    tensors, seen = list(nets.values()), 0
    for images, _ in batches.sized(min(BATCH, batches.size)):
        for layer, values in walk_together(graph, tensors, images, to_read):
            _count(layer, values, features, tallies)
        seen += len(images)
        (report or no_progress)("looking inside", seen / batches.count, f"{seen} of {batches.count} images")
    shares = receptive_shares(graph, tensors[0], batches.example(1))
    after = {node: tallies.get(after_nonlinearity(graph, tally.layer).node, tally) for node, tally in tallies.items()}
    return tuple(
        tally.facts(permutation[groups[node]].cpu().numpy(), tuple(nets), batches.order, shares[node], after[node])
        for node, tally in tallies.items()
    )


def _count(layer: Layer, values: list[Tensor], features: Pooled, tallies: dict[str, UnitTally]) -> None:
    means = [pooled(value, layer) for value in values]
    if layer.node in features:
        for parts, mean in zip(features[layer.node], means, strict=True):
            parts.append(mean)
    if layer.node in tallies:
        tallies[layer.node].add(values, means)
