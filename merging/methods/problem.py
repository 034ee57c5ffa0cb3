"""What a method is given and what it gives back: the values that tie align, combine and correct together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from merging.progress import Progress, no_progress

if TYPE_CHECKING:  # the web process reads the method tables and must not import torch
    from torch import Tensor, nn

    from merging.network.data import Batches
    from merging.network.graph.graph import Graph
    from merging.network.permutation import Permutation, PermutationSpec


@dataclass(frozen=True)
class Problem:
    """The models to merge and what is known of them.

    models: as given, in eval mode, the first is A.  aligned: the same in the merged net's units (filled after align).
    graph, spec: of the first model.  structures: (graph, spec) of every model where widths differ, else () and all have
    the first's.  data: training batches or None.  base: the net that experts were trained from, in A's units, or None.
    """

    models: tuple[nn.Module, ...]
    graph: Graph
    spec: PermutationSpec
    data: Batches | None = None
    seed: int = 0
    report: Progress = no_progress
    aligned: tuple[nn.Module, ...] = ()
    structures: tuple[tuple[Graph, PermutationSpec], ...] = ()
    base: nn.Module | None = None

    def structure(self, model: int) -> tuple[Graph, PermutationSpec]:
        """The graph and the groups of a model by its number; group names are the same in all."""
        return self.structures[model] if self.structures else (self.graph, self.spec)

    def pair(self, model: int) -> Problem:
        """The problem of the first model and that one alone."""
        structures = (self.structure(0), self.structure(model)) if self.structures else ()
        return replace(self, models=(self.models[0], self.models[model]), structures=structures)

    def tensors(self) -> Iterator[dict[str, Tensor]]:
        """Each model's parameters and buffers by name, in the order of `models`."""
        from merging.network.permutation import named_tensors

        return (named_tensors(model) for model in self.models)


@dataclass(frozen=True)
class UnitMap:
    """How one model's units of one group enter the merged net, where that is more than an order.

    make: (merged units, units), what the merged units are made of.  use: (units, merged units), what is read of the
    merged units in place of the model's own. A permutation p is make = eye[p], use = make^T; maps keep a network's
    function where use @ make is the identity and nothing nonlinear comes between.
    """

    make: Tensor
    use: Tensor


@dataclass(frozen=True)
class Alignment:
    """How each model's units map into the merged net's.

    permutations: one a model, the first the identity, group -> (units,) int64; beside maps, the nearest one-to-one
    match, for people to look at.  maps: one dict a model, group -> UnitMap, or () where all is permutations; scaled so
    that the merge is the weighted *mean* of the mapped models. A group without a map is permuted.
    notes: what the aligner found, for the report (objective, restarts, spread, sweeps ...), JSON-able.
    """

    permutations: tuple[Permutation, ...]
    notes: dict[str, Any] = field(default_factory=dict)
    maps: tuple[dict[str, UnitMap], ...] = ()


@dataclass(frozen=True)
class Combiner:
    """A combination with whatever it has to learn already learned: `combiner(weights)` gives the net's tensors.

    weights: how much of each model is asked for, summing to 1.  notes: what was learned or chosen, JSON-able.
    """

    run: Callable[[tuple[float, ...]], dict[str, Tensor]]
    notes: dict[str, Any] = field(default_factory=dict)

    def __call__(self, weights: tuple[float, ...]) -> dict[str, Tensor]:
        """name -> tensor, of the first aligned model's names, shapes and dtypes."""
        return self.run(weights)


@dataclass(frozen=True)
class MergeResult:
    """merged: the corrected merge.  aligned: one module per input, the first is A (but for methods that merge units of
    one model, such as ZipIt!).  notes: objective, restarts, equivalence error (max |B - pi(B)|, relative, float64), by
    stage."""

    merged: nn.Module
    aligned: tuple[nn.Module, ...]
    alignment: Alignment
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class Corrector:
    """A correction with what it needs of the parents already measured: `corrector(combined net, weights)` gives the
    corrected net and leaves the combined one as it is.

    weights: how much of each model is in the net, summing to 1.  notes: what could not be corrected, JSON-able.
    """

    run: Callable[[nn.Module, tuple[float, ...]], nn.Module]
    notes: dict[str, Any] = field(default_factory=dict)

    def __call__(self, net: nn.Module, weights: tuple[float, ...]) -> nn.Module:
        """The corrected net, in eval mode, of the same architecture and tensor names."""
        return self.run(net, weights)
