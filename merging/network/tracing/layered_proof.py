"""The proof of `tracing.proof` for networks that are not in memory: one operation's weights at a time, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from merging.network.graph import interpreter
from merging.network.graph.graph import Graph
from merging.network.lazy_tensors import LazyTensors
from merging.network.permutation import Permutation, PermutationSpec, permute_tensors, restricted
from merging.network.tracing.proof import random_number, relative_change, weights_and_statistics


def exact_tensors(
    model: nn.Module, tensors: Mapping[str, Tensor], seed: int, *, telling: bool = True
) -> Mapping[str, Tensor]:
    """Name -> the tensor in float64, of its shape; random numbers where all of its own are equal and prove nothing.

    model: the network, whose parameters may be on the meta device.  tensors: name -> its numbers.  telling: whether
    there are random numbers.
    """
    drawn = weights_and_statistics(model) if telling else {}
    numbers = {name: number for number, name in enumerate(tensors)}

    def exact(name: str) -> Tensor:
        tensor = tensors[name]
        draw = int(np.random.default_rng([seed, numbers[name]]).integers(2**31))
        other = random_number(tensor, torch.Generator().manual_seed(draw)) if name in drawn else None
        return other if other is not None else tensor.double() if tensor.is_floating_point() else tensor

    return LazyTensors(tuple(tensors), exact)


def permuted_tensors(
    tensors: Mapping[str, Tensor], spec: PermutationSpec, permutation: Permutation
) -> Mapping[str, Tensor]:
    """As `permutation.permute_tensors`, each tensor of any shape when it is asked for.

    Raises IncompatibleModels then, where a group's permutation does not fit its size.
    """

    def permuted(name: str) -> Tensor:
        return permute_tensors({name: tensors[name]}, restricted(spec, (name,)), permutation)[name]

    return LazyTensors(tuple(tensors), permuted)


def run_by_layers(graph: Graph, tensors: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """The network's outputs (n, ...) in float64 for images (n, ...), one operation's weights in memory at a time.

    tensors: name -> tensor, as from `exact_tensors`.
    """
    values = _Weights(graph.sources, tensors)
    for node, constant in graph.constants.items():
        values[node] = _exact(constant.to(images.device))
    values[graph.input] = _exact(images.clone())
    program = interpreter.steps(graph.nodes, graph.output)
    with torch.no_grad():
        return interpreter.run(program, values, images.device, {graph.output}, None)[graph.output]


def change_by_layers(
    graph: Graph, tensors: Mapping[str, Tensor], spec: PermutationSpec, permutation: Permutation, images: Tensor
) -> tuple[float, Tensor]:
    """The largest change of the outputs for images (n, ...) by a permutation of a network's units, relative to the
    largest output; and the outputs (n, ...) before it.

    tensors: name -> tensor, as from `exact_tensors`.  Infinite where an output is not a finite number. Raises
    NotEquivalent where all outputs are the same, which proves nothing.
    """
    before = run_by_layers(graph, tensors, images)
    after = run_by_layers(graph, permuted_tensors(tensors, spec, permutation), images)
    return relative_change(before, after, images), before


class _Weights(dict[str, Any]):
    """Node -> value, for `graph_run.run`: a weight is read by each operation that asks for it, and not kept."""

    def __init__(self, sources: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.sources, self.tensors = sources, tensors

    def __missing__(self, node: str) -> Tensor:
        return self.tensors[self.sources[node]]


def _exact(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor
