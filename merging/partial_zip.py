"""Partial zip: one trunk for several models up to a layer, then each model's own layers (Stoica et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from merging.align.zipit import ZipItSettings, zipit
from merging.batch_norm import batch_norms, reset_batch_norm
from merging.channel_repair import correction_data
from merging.choosing import middle
from merging.data import Batches, as_batches
from merging.errors import InvalidRequest, MergescopeError
from merging.graph import Graph, Layer
from merging.permutation import named_tensors
from merging.problem import Problem, Report, UnitMap, silent
from merging.settings import read_settings
from merging.subjects import checked_models, inputs_for, read_problem
from merging.unit_maps import mapped

RESET = 5_000  # training images that BatchNorm's running statistics are measured on


class PartialZip(nn.Module):
    """The merged trunk and every model's head; `forward` gives all heads' logits side by side, (n, sum of classes).

    graph: of the models.  trunk: its merged tensors, of which those that lie before the cut are kept.  heads: each
    model's own tensors, of which those behind it are.  until: the layer at which the trunk ends.
    reads: for each model (units, merged units), what its head reads of the trunk's units.  notes: of ZipIt!.
    """

    def __init__(
        self,
        graph: Graph,
        trunk: dict[str, Tensor],
        heads: Sequence[dict[str, Tensor]],
        until: Layer,
        reads: Sequence[Tensor],
        notes: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.graph, self.until, self.notes = graph, until, dict(notes)
        behind = {operation.name for operation in graph.after(until.node)}
        after, before = ({*_sources(graph, behind, inside)} for inside in (True, False))
        self.trunk = _held({name: trunk[name] for name in trunk if name in before})
        self.heads = nn.ModuleList(_held({name: head[name] for name in head if name in after}) for head in heads)
        self.reads = nn.ParameterList([nn.Parameter(read, requires_grad=False) for read in reads])

    def forward(self, images: Tensor) -> Tensor:
        """images: (n, ...)."""
        node = self.until.node
        return torch.cat([self.graph.resume(held, images, node, units) for held, units in self._read(images)], 1)

    def _read(self, images: Tensor) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Of every head: the tensors of trunk and head, and what it reads of the trunk on images (n, ...)."""
        trunk, heads = _tensors(self.trunk), [_tensors(head) for head in self.heads]
        node, dim = self.until.node, self.until.dim
        merged = self.graph.run({**heads[0], **trunk}, images, until=node)[1][node]  # what lies behind the cut is
        for head, read in zip(heads, self.reads, strict=True):  # named, but never read
            yield {**trunk, **head}, torch.tensordot(merged, read.to(merged.dtype).T, ([dim], [0])).movedim(-1, dim)

    def reset_batch_norm(self, data: Batches) -> None:
        """Take the running statistics of the heads' BatchNorms from `data`, in place: the mean over its batches."""
        norms, own = _batch_norms(self.graph, self.until.node), [_tensors(head) for head in self.heads]
        sums = [{name: torch.zeros_like(head[name]) for pair in norms.values() for name in pair} for head in own]
        for images, _ in data:
            for (held, units), found in zip(self._read(images), sums, strict=True):
                for node, value in self.graph.walk(held, images, norms, (self.until.node, units)):
                    others = [dim for dim in range(value.dim()) if dim != 1]
                    for name, now in zip(norms[node], reversed(torch.var_mean(value, others)), strict=True):
                        held[name].copy_(now)  # the norm that comes next reads it
                        found[name] += now / len(data)
        for head, found in zip(own, sums, strict=True):
            for name, value in found.items():
                head[name].copy_(value)

    def share(self, models: Sequence[nn.Module]) -> float:
        """How many numbers trunk and heads hold, as a share of the models'; what heads read of the trunk could as well
        be multiplied into their first layers."""
        held = sum(tensor.numel() for part in (self.trunk, *self.heads) for tensor in part.parameters())
        return held / sum(tensor.numel() for model in models for tensor in named_tensors(model).values())

    def tensors(self) -> dict[str, Tensor]:
        """All it holds on the CPU, of the models' shapes: trunk.NAME, heads.K.NAME, reads.K (units, merged units)."""
        found = {f"trunk.{name}": tensor for name, tensor in _tensors(self.trunk).items()}
        for number, head in enumerate(self.heads):
            found |= {f"heads.{number}.{name}": tensor for name, tensor in _tensors(head).items()}
        found |= {f"reads.{number}": read for number, read in enumerate(self.reads)}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}


def partial_zip(
    models: Sequence[nn.Module],
    until: str,
    data: Any,
    *,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    report: Report | None = None,
) -> PartialZip:
    """Zip the models up to layer `until`, whose units must be one group that may be mixed, and keep what follows apart.

    models: two or more of one structure; their outputs may mean different classes.  data: training images, as for
    `merge`; their labels are not read unless `settings` choose alpha and beta.  Raises UnknownLayer for `until`,
    InvalidRequest where the units there cannot be mixed or a later layer also reads what lies before it.
    """
    problem = _problem(models, data, seed, report)
    layer = problem.graph.layer(until)
    group = _group_at(problem, layer)  # refuses a cut before any work is done
    return _zipped(problem, settings).at(layer, group)


def partial_zips(
    models: Sequence[nn.Module],
    data: Any,
    *,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    report: Report | None = None,
) -> Iterator[PartialZip]:
    """The networks zipped up to every layer at which the trunk may end, in network order.

    One alignment serves all of them; arguments as for `partial_zip`. Of layers with the same units the last one counts:
    a convolution's, its norm's and its activation's cut share the same weights. Raises InvalidRequest where there is no
    such place.
    """
    problem = _problem(models, data, seed, report)
    places = cuts(problem)
    if not places:
        raise InvalidRequest("These networks have no layer whose units can be mixed, so they share no trunk.")
    whole = _zipped(problem, settings)
    for layer, group in places:
        yield whole.at(layer, group)


def cuts(problem: Problem) -> list[tuple[Layer, str]]:
    """The layers at which a trunk may end, each with its group of units; the last of those in a row with one group."""
    found: list[tuple[Layer, str]] = []
    before = ""
    for layer in problem.graph.layers:
        try:
            group = _group_at(problem, layer)
        except MergescopeError:
            before = ""
            continue
        found[len(found) - (group == before) :] = [(layer, group)]
        before = group
    return found


@dataclass(frozen=True)
class _Zipped:
    """The models' alignment by ZipIt!, whole. maps: group -> UnitMap, one a model.  data: for BatchNorm's statistics,
    None without BatchNorm."""

    problem: Problem
    trunk: dict[str, Tensor]
    maps: Sequence[dict[str, UnitMap]]
    notes: dict[str, Any]
    data: Batches | None

    def at(self, layer: Layer, group: str) -> PartialZip:
        """Zipped up to this layer, whose units are this group's."""
        problem = self.problem
        reads = [own[group].use if group in own else _still(problem.spec.sizes[group]).use for own in self.maps]
        heads = [named_tensors(model) for model in problem.models]
        made = PartialZip(problem.graph, self.trunk, heads, layer, reads, self.notes).eval()
        if self.data is not None:
            made.reset_batch_norm(self.data)
        return made


def _problem(models: Sequence[nn.Module], data: Any, seed: int, report: Report | None) -> Problem:
    ready, batches = checked_models(models, None), as_batches(data)
    inputs = inputs_for(ready[0], None, batches)
    return read_problem(ready, None, inputs, batches, seed, report or silent, unequal_widths=False)[0]


def _zipped(problem: Problem, settings: dict[str, Any] | None) -> _Zipped:
    found = zipit(problem, read_settings(ZipItSettings, {"choose": False, **(settings or {})}))
    maps = [dict(own) for own in found.maps]
    moved = [
        mapped(model, problem.spec, problem.models[0], permutation, own)
        for model, permutation, own in zip(problem.models, found.permutations, maps, strict=True)
    ]
    trunk = middle(problem, [named_tensors(model) for model in moved])
    data = correction_data(problem, RESET) if batch_norms(trunk) else None
    trunk = trunk if data is None else reset_batch_norm(trunk, data)
    return _Zipped(problem, named_tensors(trunk), maps, dict(found.notes), data)


def _sources(graph: Graph, behind: set[str], inside: bool) -> Iterator[str]:
    """Names of the tensors that operations behind the cut read (inside), or those before it."""
    for operation in graph.nodes:
        if (operation.name in behind) == inside:
            yield from (graph.sources[s.name] for s in operation.all_input_nodes if s.name in graph.sources)


def _group_at(problem: Problem, layer: Layer) -> str:
    for group in problem.spec.groups:
        if group.linear and any(site.node == layer.node and site.offset == 0 for site in group.nodes):
            problem.graph.after(layer.node)  # refuses a cut that a shortcut crosses
            return group.name
    raise InvalidRequest(
        f"The units at layer {layer.name} cannot be mixed. Choose a hidden layer, such as an activation."
    )


def _batch_norms(graph: Graph, node: str) -> dict[str, tuple[str, str]]:
    """Behind a cut: the node that a BatchNorm reads -> its running mean and variance, by the tensors' names."""
    found = {}
    for operation in graph.after(node):
        if operation.target is torch.ops.aten.batch_norm.default:
            read, *_, mean, variance = operation.all_input_nodes
            found[read.name] = (graph.sources[mean.name], graph.sources[variance.name])
    return found


def _still(units: int) -> UnitMap:
    eye = torch.eye(units, dtype=torch.float64)
    return UnitMap(eye, eye)


def _held(tensors: dict[str, Tensor]) -> nn.ParameterDict:
    """Tensors as a module's own; a dot may stand in no name of a module."""
    return nn.ParameterDict(
        {name.replace(".", "/"): nn.Parameter(t.clone(), requires_grad=False) for name, t in tensors.items()}
    )


def _tensors(held: nn.Module) -> dict[str, Tensor]:
    return {name.replace("/", "."): tensor for name, tensor in held.named_parameters()}
