"""Inputs and outputs of merge methods: the values passed between align, combine and correct."""

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
    """The models to merge, with their structure and data.

    Attributes:
        models: the input models in eval mode; the first is A.
        graph: graph of the first model.
        spec: permutation groups of the first model.
        data: training batches, or None.
        seed: seed of all random choices.
        report: progress callback.
        aligned: the models with their units mapped to the merged net's units; () before the align stage.
        structures: (graph, spec) per model if widths differ; else (), and every model has `graph` and `spec`.
        base: the network that the experts were fine-tuned from, with its units in A's order, or None.
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
        """Return the graph and the permutation groups of model number `model`; all models have the same group names."""
        return self.structures[model] if self.structures else (self.graph, self.spec)

    def pair(self, model: int) -> Problem:
        """Return the two-model problem of the first model and model number `model`."""
        structures = (self.structure(0), self.structure(model)) if self.structures else ()
        return replace(self, models=(self.models[0], self.models[model]), structures=structures)

    def tensors(self) -> Iterator[dict[str, Tensor]]:
        """Yield each model's parameters and buffers by name, in the order of `models`."""
        from merging.network.permutation import named_tensors

        return (named_tensors(model) for model in self.models)


@dataclass(frozen=True)
class UnitMap:
    """Linear map from one model's units of one group to the merged net's units, for aligners that do more than permute.

    A permutation p has make = eye[p] and use = make^T. Maps preserve a network's function if use @ make is the identity
    and no nonlinearity lies between the two.

    Attributes:
        make: (merged units, units), row i holds the coefficients of the model's units in merged unit i.
        use: (units, merged units), row j holds the coefficients of the merged units whose sum replaces the model's unit
            j wherever a weight reads it.
    """

    make: Tensor
    use: Tensor


@dataclass(frozen=True)
class Alignment:
    """Mapping of each model's units to the merged net's units.

    Attributes:
        permutations: one per model, group -> (units,) int64; the first is the identity. For a group with maps, the
            permutation is the nearest one-to-one match and is only displayed.
        notes: the aligner's results for the report (objective, restarts, spread, sweeps ...), JSON-able.
        maps: one dict per model, group -> UnitMap, scaled so that the merge is the weighted *mean* of the mapped
            models; () if every group is permuted. A group without a map is permuted.
    """

    permutations: tuple[Permutation, ...]
    notes: dict[str, Any] = field(default_factory=dict)
    maps: tuple[dict[str, UnitMap], ...] = ()


@dataclass(frozen=True)
class Combiner:
    """Function that combines the aligned models, after all learning: `combiner(weights)` returns the merged tensors.

    Attributes:
        run: takes each model's share in the merge (the shares sum to 1); returns name -> tensor.
        notes: learned or selected values for the report, JSON-able.
    """

    run: Callable[[tuple[float, ...]], dict[str, Tensor]]
    notes: dict[str, Any] = field(default_factory=dict)

    def __call__(self, weights: tuple[float, ...]) -> dict[str, Tensor]:
        """Return name -> tensor with the first aligned model's names, shapes and dtypes."""
        return self.run(weights)


@dataclass(frozen=True)
class MergeResult:
    """Result of a merge.

    Attributes:
        merged: the combined and corrected network.
        aligned: one module per input; the first is A itself, except after methods that can merge units of the same
            model (ZipIt!).
        alignment: the unit mapping of every model.
        notes: results per stage: objective, restarts, and equivalence error (max |B - pi(B)| over the outputs, relative
            to the largest output, in float64).
    """

    merged: nn.Module
    aligned: tuple[nn.Module, ...]
    alignment: Alignment
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class Corrector:
    """Function that corrects a combined net, after the parents' statistics have been measured.

    `corrector(combined net, weights)` returns the corrected net and leaves the combined net unchanged.

    Attributes:
        run: takes the combined net and each model's share in it (the shares sum to 1); returns the corrected net.
        notes: modules corrected and modules that could not be corrected, JSON-able.
    """

    run: Callable[[nn.Module, tuple[float, ...]], nn.Module]
    notes: dict[str, Any] = field(default_factory=dict)

    def __call__(self, net: nn.Module, weights: tuple[float, ...]) -> nn.Module:
        """Return the corrected net, in eval mode, with the same architecture and tensor names."""
        return self.run(net, weights)
