"""Merging two checkpoint files into a third, with neither network in memory.

Weight matching and averaging need few tensors at a time. Tensors are read from the files when they are needed, and are
written one by one. The proof of equivalence runs the networks layer by layer. The result equals that of `merging.merge`
bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from merging.methods.algorithms.averaging import weighted_mean
from merging.methods.algorithms.coordinate_descent import as_real, packing, part
from merging.methods.align.weight_matching import WeightMatchingSettings, best_descent
from merging.methods.problem import Problem
from merging.network.constants import constants_of, refuse_different, without_constants
from merging.network.graph.graph import Graph
from merging.network.graph.weightless_graph import export_weightless
from merging.network.lazy_tensors import LazyTensors
from merging.network.outputs import are_probabilities
from merging.network.permutation import Permutation, PermutationSpec
from merging.network.tracing.layered_proof import change_by_layers, exact_tensors, permuted_tensors
from merging.network.tracing.proof import proof_inputs
from merging.network.tracing.tracer import trace_graph
from merging.pipeline.merge import agreement, checked_weights, trace_notes
from merging.pipeline.models import refuse_above, refuse_broken, refuse_other_structure
from merging.pipeline.output_files import NETWORKS, only_finite, write_networks
from merging.pipeline.streamed_net import StreamedNet, streamed_net
from merging.progress import Progress, no_progress
from merging.settings import read_settings
from merging.zoo.checkpoints.example import example_images
from merging.zoo.checkpoints.sliced_checkpoint import SlicedCheckpoint, open_sliced

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class FilesMerge:
    """Result of a merge of files.

    Attributes:
        graph: graph of both networks.
        spec: permutation groups of both networks.
        permutation: permutation of B's units, group -> (units,) int64.
        notes: as in `merging.merge`.
    """

    graph: Graph
    spec: PermutationSpec
    permutation: Permutation
    notes: Mapping[str, Any]


def merge_files(
    a: str | Path, b: str | Path, out: str | Path, *, known: Mapping[str, Any] | None = None, **how: Any
) -> FilesMerge:
    """Merge two safetensors files, or folders of them with their index, by weight matching and averaging.

    Args:
        a, b: paths of the two checkpoints.
        out: folder for merge.safetensors, aligned.safetensors (B in A's units) and naive.safetensors (plain average).
        known: the user's description of both files, as in `load_checkpoint`.
        how: keyword arguments of `merge_sliced`.
    Raises:
        MergescopeError: as `merge_sliced` does.
    """
    first, second = (open_sliced(path, **(known or {})) for path in (a, b))
    return merge_sliced(first, second, Path(out), **how)


def merge_sliced(
    a: SlicedCheckpoint,
    b: SlicedCheckpoint,
    out: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    weights: Sequence[float] = (0.5, 0.5),
    example: Tensor | None = None,
    device: torch.device | str = "cpu",
    report: Progress = no_progress,
) -> FilesMerge:
    """Merge two open checkpoints as `merge_files` does; memory holds a few copies of the largest tensor at most.

    settings: settings of weight matching. weights: share of each network in the merge, summing to 1. example: inputs
    (n, ...) to trace with, random by default. Raises as `merging.merge` does, and CheckpointError if a file holds
    numbers that are not finite.
    """
    shares, wishes = checked_weights(weights, 2), read_settings(WeightMatchingSettings, settings)
    report("loading", 0.0, "reading the checkpoints")
    first, second = (streamed_net(one, torch.device(device)) for one in (a, b))
    for net, name in ((first, "Network A"), (second, "Network B")):
        refuse_broken(net.module, name, net.tensors)
    images = _example(first) if example is None else example
    problem = _problem(first, second, images, seed, report)
    error, rows = _random_change(problem, first, images, device)
    permutation, matching = _matched(problem, first.tensors, second.tensors, wishes)
    equivalence = _change(problem, second, permutation, images, device)
    aligned = permuted_tensors(second.tensors, problem.spec, permutation)
    notes = {
        "trace": trace_notes(problem, error),
        "align": matching,
        "combine": {},
        "correct": {},
        "equivalence": equivalence,
        **agreement(first.parameters, LazyTensors(tuple(first.parameters), aligned.__getitem__)),
        **({"outputs": "probabilities"} if are_probabilities(rows) else {}),
    }
    names = f"{first.name} + {second.name}"
    constants = constants_of(first.module)
    merged = only_finite(_mean(first.tensors, aligned, shares, constants), constants, "The merge")
    networks = (
        (f"Merge of {names}", merged),
        (f"{second.name}, units re-ordered", aligned),
        (f"Plain average of {names}", _mean(first.tensors, second.tensors, (0.5, 0.5), {})),
    )
    write_networks(out, first, dict(zip(NETWORKS, networks, strict=True)), report)
    return FilesMerge(problem.graph, problem.spec, permutation, notes)


def _example(net: StreamedNet) -> Tensor:
    checkpoint = net.checkpoint
    return example_images(checkpoint.architecture, checkpoint.config, checkpoint.dataset, len(checkpoint.mean))


def _problem(first: StreamedNet, second: StreamedNet, images: Tensor, seed: int, report: Progress) -> Problem:
    """Return the problem, traced without weights. Raises IncompatibleModels if the structures differ."""
    report("tracing", 0.0, "reading the networks' structure")
    graph = export_weightless(first.module, images)
    one, other = ((net.checkpoint.architecture, net.checkpoint.config) for net in (first, second))
    if one != other:
        refuse_other_structure(graph, export_weightless(second.module, images), "network B")
    models = (first.module, second.module)
    groups = trace_graph(graph)
    refuse_different(models, [groups] * 2, graph.sources.values())
    return Problem(models, graph, without_constants(groups, constants_of(first.module)), None, seed, report)


def _random_change(
    problem: Problem, net: StreamedNet, images: Tensor, device: torch.device | str
) -> tuple[float, Tensor]:
    """Return the change of A's outputs under a random permutation, and the outputs, (n, classes).

    Raises NotEquivalent if the change exceeds rounding.
    """
    problem.report("tracing", 0.5, "permuting units at random and comparing outputs")
    shuffle = problem.spec.random(problem.seed)
    error, outputs = _proof(problem, net, shuffle, images, device)
    refuse_above(error, "A random permutation of the first network")
    return error, outputs.flatten(0, -2)


def _change(
    problem: Problem, net: StreamedNet, permutation: Permutation, images: Tensor, device: torch.device | str
) -> float:
    """Return the change of B's outputs under the permutation. Raises NotEquivalent if it exceeds rounding."""
    problem.report("verifying", 0.0, "comparing B with π(B)")
    error, _ = _proof(problem, net, permutation, images, device)
    refuse_above(error, "The permutation of network B")
    return error


def _proof(
    problem: Problem, net: StreamedNet, permutation: Permutation, images: Tensor, device: torch.device | str
) -> tuple[float, Tensor]:
    """Return the change of the network's outputs under a permutation, and the outputs."""
    inputs = proof_inputs(net.module, images, problem.seed, problem.graph).to(device)
    for telling in (True, False):  # random numbers in place of constant tensors may give outputs that are not finite
        exact = exact_tensors(net.module, net.tensors, problem.seed, telling=telling)
        error, outputs = change_by_layers(problem.graph, exact, problem.spec, permutation, inputs)
        if bool(torch.isfinite(outputs).all()):
            break
    return error, outputs


def _matched(
    problem: Problem, a: Tensors, b: Tensors, settings: WeightMatchingSettings
) -> tuple[Permutation, dict[str, Any]]:
    """Run weight matching on tensors that are read on demand; return B's permutation and the notes."""
    parameters = problem.models[0].named_parameters()
    own = {name: as_real(p.detach()) for name, p in parameters if name in problem.spec.by_parameter}
    parts, spec = packing({name: tuple(p.shape) for name, p in own.items()}, problem.spec)

    def packed(tensors: Tensors) -> Tensors:
        real = LazyTensors(tuple(own), lambda name: as_real(tensors[name]))
        matrices = {
            name: part(real, name, vectors) for name, vectors in parts.items() if vectors
        }  # small, and used often
        return LazyTensors(tuple(parts), lambda name: matrices[name] if name in matrices else real[name])

    return best_descent(packed(a), packed(b), spec, settings, problem.seed, problem.report, keep=False)


def _mean(a: Tensors, b: Tensors, shares: tuple[float, ...], constants: Tensors) -> Tensors:
    """Return the weighted mean of two networks, computed per tensor on demand; `constants` are taken from A."""

    def mean(name: str) -> Tensor:
        return a[name] if name in constants else weighted_mean([{name: a[name]}, {name: b[name]}], shares)[name]

    return LazyTensors(tuple(a), mean)
