"""Checks of a merge's input models: one structure, finite weights, permutation groups that preserve the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from merging.errors import IncompatibleModels, InvalidRequest, NotEquivalent
from merging.methods.problem import Problem
from merging.methods.registry import MOST_MODELS
from merging.naming import letter
from merging.network.constants import (
    NORMALISED,
    NORMALISERS,
    constants_of,
    refuse_different,
    statistics_of,
    without_constants,
)
from merging.network.copying import copied
from merging.network.data import Batches, place_of
from merging.network.graph import graph as graphs
from merging.network.graph.code import code_of
from merging.network.permutation import PermutationSpec, named_tensors
from merging.network.tracing import tracer
from merging.progress import Progress

LARGEST_ERROR = 1e-6  # relative, in float64: an exact permutation stays below 1e-9 in deep networks, a wrong one is ~1


def read_problem(
    models: Sequence[nn.Module],
    base: nn.Module | None,
    inputs: Tensor,
    data: Batches | None,
    seed: int,
    report: Progress,
    *,
    unequal_widths: bool,
) -> tuple[Problem, float]:
    """Return the problem before alignment, and the tracer's error: max output change under a random permutation.

    Args:
        models: as from `checked_models`.
        base: the experts' base network, or None.
        inputs: (n, ...) to trace with.
        data: training batches, or None.
        seed: seed of the problem and of the random permutation.
        report: progress callback.
        unequal_widths: accept models whose hidden layers differ in width.
    Raises:
        IncompatibleModels: when structures differ.
        UnsupportedOperation: when a network contains an operator without a rule.
        NotEquivalent: when the error exceeds rounding.
    """
    report("tracing", 0.0, "reading the networks' structure")
    first, code = graphs.export(models[0], inputs), code_of(models[0])
    others = [
        first if code is not None and code_of(model) == code else graphs.export(model, inputs) for model in models[1:]
    ]
    traced = _structures(first, others, unequal_widths)
    if base is not None:
        refuse_other_structure(first, graphs.export(base, inputs), "the base")
    groups = [spec for _, spec in traced] or [tracer.trace_graph(first)] * len(models)
    refuse_different(models, groups, first.sources.values(), base)
    structures = tuple(
        (graph, without_constants(spec, constants_of(model)))
        for (graph, spec), model in zip(traced, models, strict=False)
    )
    spec = without_constants(groups[0], constants_of(models[0]))
    report("tracing", 0.5, "permuting units at random and comparing outputs")
    error = tracer.verify(models[0], spec, inputs, seed, graph=first)
    refuse_above(error, "A random permutation of the first network")
    return Problem(tuple(models), first, spec, data, seed, report, structures=structures, base=base), error


def spec_of(graph: graphs.Graph, model: nn.Module) -> PermutationSpec:
    """Return the model's groups that can be permuted without changing its constants. graph: the model's graph."""
    return without_constants(tracer.trace_graph(graph), constants_of(model))


def refuse_above(error: float, what: str) -> None:
    """Raise NotEquivalent if the relative output change `error` exceeds rounding or is NaN. what: for the message."""
    if not error <= LARGEST_ERROR:  # `error > LARGEST_ERROR` would accept NaN
        raise NotEquivalent(
            f"{what} changes its outputs by {error:.2g} relative to the largest output; a permutation symmetry would "
            f"change them by at most {LARGEST_ERROR:g}. This network cannot be merged; please report its architecture."
        )


def checked_models(models: Sequence[nn.Module], base: nn.Module | None) -> tuple[nn.Module, ...]:
    """Return the models in eval mode; a model in training mode is copied, so that the caller's stays unchanged.

    Raises IncompatibleModels for fewer than two or more than ten models, several devices, NaN or infinite weights.
    """
    if not 2 <= len(models) <= MOST_MODELS:
        raise IncompatibleModels(
            f"{len(models)} network{'s are' if len(models) != 1 else ' is'} given; a merge takes 2 to {MOST_MODELS}."
        )
    every = [*models, *([base] if base is not None else [])]
    devices = {p.device for model in every for p in model.parameters()}
    if len(devices) > 1:
        raise IncompatibleModels(f"The networks are on {' and '.join(sorted(map(str, devices)))}; use one device.")
    for number, model in enumerate(every):
        refuse_broken(model, f"Network {letter(number)}" if number < len(models) else "The base")
    return tuple(in_eval_mode(model) for model in models)


def in_eval_mode(model: nn.Module) -> nn.Module:
    """Return the model itself, or a copy in eval mode if it is in training mode or has inference-mode tensors.

    The copy leaves the caller's model unchanged. Inference-mode tensors cannot take part in autograd.
    """
    unfit = any(module.training for module in model.modules())
    unfit = unfit or any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers()))
    return copied(model) if unfit else model


def inputs_for(model: nn.Module, example: Tensor | None, data: Batches | None, count: int = 2) -> Tensor:
    """Return inputs (n, ...) on the model's device and in its precision: the example, or the data's first `count`."""
    if next(model.parameters(), None) is None:
        raise IncompatibleModels("These networks have no parameters; there is nothing to merge.")
    if example is not None:
        device, dtype = place_of(model)
        return example.to(device, dtype if example.is_floating_point() else None)
    if data is None:
        raise InvalidRequest("Give data, or an example of the networks' input, to trace them with.")
    return data.on_model(model).example(count)


def refuse_broken(model: nn.Module, name: str, tensors: Mapping[str, Tensor] | None = None) -> None:
    """Raise IncompatibleModels if a weight is NaN or infinite, or a running statistic is NaN.

    name: the network's name for the message. tensors: its tensors, of any shape, by name, if the model itself is on the
    meta device.
    """
    parameters, statistics = dict(model.named_parameters()), statistics_of(model)
    for key, tensor in (tensors or named_tensors(model)).items():
        weight = key in parameters and not torch.isfinite(tensor).all()
        if weight or (key in statistics and torch.isnan(tensor).any()):
            raise IncompatibleModels(f"{name} holds NaN or infinity in {key}. Its training failed; choose another one.")


def _structures(
    first: graphs.Graph, others: Sequence[graphs.Graph], unequal_widths: bool
) -> tuple[tuple[graphs.Graph, PermutationSpec], ...]:
    """Return every model's graph and groups if hidden layers differ in width, or () if all structures are equal.

    Raises IncompatibleModels for any other difference.
    """
    if not unequal_widths or not any(graphs.structural_difference(first, other) for other in others):
        for number, other in enumerate(others, 1):
            refuse_other_structure(first, other, f"network {letter(number)}")
        return ()
    structures = tuple((graph, tracer.trace_graph(graph)) for graph in (first, *others))
    for number, (graph, spec) in enumerate(structures[1:], 1):
        if _skeleton(graph, spec) != _skeleton(*structures[0]):
            refuse_other_structure(first, graph, f"network {letter(number)}")
    return structures


def refuse_other_structure(first: graphs.Graph, other: graphs.Graph, name: str) -> None:
    """Raise IncompatibleModels if the structures differ. name: the other network's name for the message."""
    difference = graphs.structural_difference(first, other)
    one, two = (set(graph.sources.values()) for graph in (first, other))
    if one != two and one - set(NORMALISERS) == two - set(NORMALISERS):
        raise IncompatibleModels(NORMALISED)
    if difference:
        raise IncompatibleModels(
            f"These networks have different structures (the first network is A, the second is {name}). {difference} "
            "Choose networks with the same structure."
        )


def _skeleton(graph: graphs.Graph, spec: PermutationSpec) -> tuple[object, ...]:
    """Return the structure without the widths of groups: sizes of all other dimensions, groups, axes, operators."""
    sizes = {name: list(shape) for name, shape in graph.shapes.items()}
    for name, pairs in spec.by_parameter.items():
        for axis, group in pairs:
            sizes[name][axis.dim] -= group.size * axis.block
    groups = [(group.name, [(a.parameter, a.dim) for a in group.axes]) for group in spec.groups]
    return sizes, groups, [operator for _, operator, _ in graph.operations]
