"""What a method is given and what it gives back: the values that tie align, combine and correct together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # the web process reads the method tables and must not import torch
    from torch import Tensor, nn

    from merging.data import Batches
    from merging.graph import Graph
    from merging.permutation import Permutation, PermutationSpec


class Report(Protocol):
    """How long work tells where it is. May raise Cancelled."""

    def __call__(self, stage: str, fraction: float | None = None, message: str = "") -> None:
        """stage: one lower-case word or two ("matching"); fraction: 0..1 of that stage; message: words for a person."""


def silent(stage: str, fraction: float | None = None, message: str = "") -> None:
    """A Report that tells nobody."""


@dataclass(frozen=True)
class Problem:
    """The models to merge and what is known of them.

    models: as given, in eval mode, the first is A.  aligned: the same with B's units re-ordered (filled after align).
    graph, spec: of the first model; every model has the same.  data: training batches or None.
    """

    models: tuple[nn.Module, ...]
    graph: Graph
    spec: PermutationSpec
    data: Batches | None = None
    seed: int = 0
    report: Report = silent
    aligned: tuple[nn.Module, ...] = ()

    def tensors(self) -> Iterator[dict[str, Tensor]]:
        """Each model's parameters and buffers by name, in the order of `models`."""
        from merging.permutation import named_tensors

        return (named_tensors(model) for model in self.models)


@dataclass(frozen=True)
class Alignment:
    """How each model's units map into the merged net's: one permutation a model, the first the identity.

    notes: what the aligner found, for the report (objective, restarts, spread, sweeps ...), JSON-able.
    """

    permutations: tuple[Permutation, ...]
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MergeResult:
    """merged: the corrected merge.  aligned: one module per input, the first is A.  notes: objective, restarts,
    equivalence error (max |B - pi(B)|, relative, float64), by stage."""

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
