"""Partial zip: merge several models up to a layer, and keep each model's own layers after it (Stoica et al. 2024)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from merging.errors import IncompatibleModels, InvalidRequest, MergescopeError
from merging.methods.algorithms.channel_repair import correction_data
from merging.methods.algorithms.hyperparameters import middle
from merging.methods.algorithms.unit_maps import mapped
from merging.methods.align.zipit import ZipItSettings, zipit
from merging.methods.problem import Problem, UnitMap
from merging.network.batch_norm import batch_norms, reset_batch_norm
from merging.network.data import Batches, as_batches
from merging.network.graph.graph import Graph, Layer, export
from merging.network.permutation import named_tensors
from merging.pipeline.models import checked_models, inputs_for, read_problem
from merging.pipeline.shared_trunk import Own, PartialZip
from merging.progress import Progress, no_progress
from merging.settings import read_settings

Place = tuple[Layer, str]  # a layer, and the name of the group of its units
ONE_STRUCTURE = "Only networks of one structure can be zipped; their numbers of outputs may differ."
RESET = 5_000  # maximum number of training images for BatchNorm's running statistics


@dataclass(frozen=True)
class PartialZips:
    """Partial zips of the models up to each of `places`, all from one alignment; iteration builds them one by one.

    Attributes:
        models: the input models in eval mode.
        graphs: one per model.
        places: the layers at which a trunk may end, in network order, each with the group of its units.
        problem: the problem that was aligned.
        trunk: merged tensors, name -> tensor.
        maps: one dict per model, group -> UnitMap.
        notes: notes of ZipIt!.
        data: batches for BatchNorm's running statistics, None without BatchNorm.
    """

    models: tuple[nn.Module, ...]
    graphs: tuple[Graph, ...]
    places: Sequence[Place]
    problem: Problem
    trunk: Mapping[str, Tensor]
    maps: Sequence[Mapping[str, UnitMap]]
    notes: Mapping[str, Any]
    data: Batches | None

    @cached_property
    def alone(self) -> tuple[nn.Module, ...]:
        """The unmerged models for comparison, with BatchNorm statistics reset on the same images as the zips."""
        if self.data is None:
            return self.models
        return tuple(reset_batch_norm(model, self.data) for model in self.models)

    def __iter__(self) -> Iterator[PartialZip]:
        for number, (layer, group) in enumerate(self.places):
            self.problem.report("heads", number / len(self.places), f"trunk up to {layer.name}")
            yield self._at(layer, group)

    def _at(self, layer: Layer, group: str) -> PartialZip:
        identity = _identity(self.problem.spec.sizes[group])
        each = zip(self.graphs, self.models, self.maps, strict=True)
        own = [Own(graph, named_tensors(parent), maps.get(group, identity).use) for graph, parent, maps in each]
        model = PartialZip(self.trunk, own, layer, self.notes).eval()
        if self.data is not None:
            model.reset_batch_norm(self.data)
        return model


def partial_zip(
    models: Sequence[nn.Module],
    until: str,
    data: Any,
    *,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    report: Progress | None = None,
) -> PartialZip:
    """Zip the models up to layer `until` and keep each model's later layers; arguments as for `partial_zips`."""
    (zipped,) = partial_zips(models, data, until=until, settings=settings, seed=seed, report=report)
    return zipped


def partial_zips(
    models: Sequence[nn.Module],
    data: Any,
    *,
    until: str | None = None,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    report: Progress | None = None,
) -> PartialZips:
    """Zip the models up to layer `until`, or to every layer at which a trunk may end.

    Args:
        models: two or more of one structure; their classes may differ in meaning and number.
        data: training images, as for `merge`; their labels are read only if the setting `choose` is on.
        until: name of a layer whose units are one group that may be mixed. None: every such layer, but only the
            last of consecutive layers with the same units, because cuts at a convolution, its norm and its activation
            share the same weights.
        settings: settings of ZipIt!.
        seed: seed of all random choices.
        report: progress callback.
    Raises:
        UnknownLayer: when there is no layer `until`.
        InvalidRequest: when units cannot be mixed there, a later layer also reads a value from before the cut, or no
            layer can end a trunk.
        IncompatibleModels: when the structures differ.
    """
    ready, batches = checked_models(models, None), as_batches(data)
    inputs = inputs_for(ready[0], None, batches)
    equal = _equal_outputs(ready, inputs)
    problem = read_problem(equal, None, inputs, batches, seed, report or no_progress, unequal_widths=False)[0]
    _refuse_hidden(problem, ready)
    places = cuts(problem) if until is None else [_place(problem, problem.graph.layer(until))]
    if not places:
        raise InvalidRequest("These networks have no layer whose units can be mixed, so they share no trunk.")
    graphs = _graphs(problem, ready) if equal is not ready else (problem.graph,) * len(ready)
    alignment = zipit(problem, read_settings(ZipItSettings, {"choose": False, **(settings or {})}))
    maps = [dict(own) for own in alignment.maps]
    nets = [
        mapped(model, problem.spec, problem.models[0], permutation, own)
        for model, permutation, own in zip(problem.models, alignment.permutations, maps, strict=True)
    ]
    trunk = middle(problem, [named_tensors(model) for model in nets])
    reset = correction_data(problem, RESET) if batch_norms(trunk) else None
    trunk = trunk if reset is None else reset_batch_norm(trunk, reset)
    return PartialZips(ready, graphs, places, problem, named_tensors(trunk), maps, alignment.notes, reset)


def cuts(problem: Problem) -> list[Place]:
    """Return the layers at which a trunk may end, with their groups; of consecutive layers of a group only the last."""
    places: list[Place] = []
    before = ""
    for layer in problem.graph.layers:
        try:
            place = _place(problem, layer)
        except MergescopeError:
            before = ""
            continue
        places[len(places) - (place[1] == before) :] = [place]
        before = place[1]
    return places


def _place(problem: Problem, layer: Layer) -> Place:
    for group in problem.spec.groups:
        whole = group.linear and group.size == layer.units  # after a concatenation a layer holds other units too
        if whole and any((site.node, site.dim) == (layer.node, layer.dim) for site in group.nodes):
            problem.graph.after(layer.node)  # raises if a shortcut crosses the cut
            return layer, group.name
    raise InvalidRequest(
        f"The units at layer {layer.name} cannot be mixed. Choose a hidden layer, such as an activation."
    )


def _equal_outputs(models: tuple[nn.Module, ...], inputs: Tensor) -> tuple[nn.Module, ...]:
    """Return the models with equal numbers of outputs, so that they can be aligned as networks of one structure.

    A model with fewer outputs than the widest is replaced by a copy with additional outputs of weight 0.
    """
    shapes = [{name: tensor.shape for name, tensor in named_tensors(model).items()} for model in models]
    if all(one == shapes[0] for one in shapes):
        return models
    try:
        with torch.no_grad():
            answers = [model(inputs) for model in models]
    except RuntimeError as error:
        raise IncompatibleModels(
            f"One of the networks does not run on these images: {error}. {ONE_STRUCTURE}"
        ) from error
    if any(answer.ndim != 2 for answer in answers):
        shapes_given = " and ".join(str(tuple(answer.shape)) for answer in answers)
        raise IncompatibleModels(f"The networks return shapes {shapes_given}; only (images, classes) can be zipped.")
    widest = models[max(range(len(models)), key=lambda number: answers[number].shape[1])]
    return tuple(_widened(model, widest, inputs) for model in models)


@torch.no_grad()
def _widened(model: nn.Module, widest: nn.Module, inputs: Tensor) -> nn.Module:
    """Return a copy of the model with as many outputs as `widest`. Raises IncompatibleModels for other differences."""
    twin, own, answers = copy.deepcopy(widest), named_tensors(model), model(inputs)
    outputs = answers.shape[1], twin(inputs).shape[1]
    for name, tensor in named_tensors(twin).items():
        source = own.get(name)
        if source is None or source.shape[1:] != tensor.shape[1:]:
            raise IncompatibleModels(f"{name} is not in both networks, or differs in shape. {ONE_STRUCTURE}")
        if source.shape != tensor.shape and (len(source), len(tensor)) != outputs:
            raise IncompatibleModels(f"{name} has {len(source)} and {len(tensor)} units. {ONE_STRUCTURE}")
        tensor.zero_()
        tensor[: len(source)].copy_(source) if source.ndim else tensor.copy_(source)
    if not torch.allclose(twin(inputs)[:, : outputs[0]], answers, rtol=1e-3, atol=1e-5):
        raise IncompatibleModels(f"The networks compute different functions. {ONE_STRUCTURE}")
    return twin


def _graphs(problem: Problem, models: tuple[nn.Module, ...]) -> tuple[Graph, ...]:
    """Return the graph of every model. Raises IncompatibleModels if one has other operations than the problem's."""
    inputs = inputs_for(models[0], None, problem.data)
    graphs = tuple(export(model, inputs) for model in models)
    operators = [[operator for _, operator, _ in graph.operations] for graph in (problem.graph, *graphs)]
    if any(own != operators[0] for own in operators):
        raise IncompatibleModels(f"The networks consist of different operations. {ONE_STRUCTURE}")
    return graphs


def _refuse_hidden(problem: Problem, models: tuple[nn.Module, ...]) -> None:
    """Raise IncompatibleModels if networks differ in the number of units of a hidden layer."""
    shapes = [{name: tensor.shape for name, tensor in named_tensors(model).items()} for model in models]
    for group in problem.spec.groups:
        for axis in group.axes:
            if len({one[axis.parameter][axis.dim] for one in shapes}) > 1:
                raise IncompatibleModels(f"{axis.parameter} differs in its number of units. {ONE_STRUCTURE}")


def _identity(units: int) -> UnitMap:
    eye = torch.eye(units, dtype=torch.float64)
    return UnitMap(eye, eye)
