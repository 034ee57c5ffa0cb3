"""The proof of `tracing.proof` for large networks: only one operation's float64 weights are in memory at a time."""

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
    """Return a lazy mapping: name -> the tensor in float64, of its own shape.

    Args:
        model: the network, whose parameters may be on the meta device.
        tensors: name -> the tensor's values.
        seed: seed of the random numbers.
        telling: replace each parameter or running statistic whose entries are all equal, and which therefore proves
            nothing, by random numbers.
    """
    candidates = weights_and_statistics(model) if telling else {}
    numbers = {name: number for number, name in enumerate(tensors)}

    def exact(name: str) -> Tensor:
        tensor = tensors[name]
        draw = int(np.random.default_rng([seed, numbers[name]]).integers(2**31))
        other = random_number(tensor, torch.Generator().manual_seed(draw)) if name in candidates else None
        return other if other is not None else tensor.double() if tensor.is_floating_point() else tensor

    return LazyTensors(tuple(tensors), exact)


def permuted_tensors(
    tensors: Mapping[str, Tensor], spec: PermutationSpec, permutation: Permutation
) -> Mapping[str, Tensor]:
    """Return a lazy mapping of permuted tensors of any shape, equal to `permutation.permute_tensors`.

    An access raises IncompatibleModels where a group's permutation does not fit its size.
    """

    def permuted(name: str) -> Tensor:
        return permute_tensors({name: tensors[name]}, restricted(spec, (name,)), permutation)[name]

    return LazyTensors(tuple(tensors), permuted)


def run_by_layers(graph: Graph, tensors: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Return the network's outputs (n, ...) in float64, with the weights of one operation at a time in memory.

    Args:
        graph: the network's graph.
        tensors: name -> tensor, as from `exact_tensors`.
        images: (n, ...).
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
    """Return the largest change of the outputs by a permutation, and the outputs (n, ...) before it.

    The change is relative to the largest output. It is infinite where an output is not a finite number.

    Args:
        graph: the network's graph.
        tensors: name -> tensor, as from `exact_tensors`.
        spec: the groups.
        permutation: group -> (units,).
        images: (n, ...).
    Raises:
        NotEquivalent: when all outputs are the same, which proves nothing.
    """
    before = run_by_layers(graph, tensors, images)
    after = run_by_layers(graph, permuted_tensors(tensors, spec, permutation), images)
    return relative_change(before, after, images), before


class _Weights(dict[str, Any]):
    """Node -> value, for `interpreter.run`; a weight is read again for each operation and is not stored."""

    def __init__(self, sources: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.sources, self.tensors = sources, tensors

    def __missing__(self, node: str) -> Tensor:
        return self.tensors[self.sources[node]]


def _exact(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor
