"""Partial zip: one trunk for several models up to a layer, then each model's own layers (Stoica et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from merging.align.zipit import ZipItSettings, zipit
from merging.choosing import middle
from merging.data import as_batches
from merging.errors import InvalidRequest
from merging.graph import Graph
from merging.permutation import PermutationSpec, named_tensors
from merging.problem import Report, UnitMap, silent
from merging.settings import read_settings
from merging.subjects import checked_models, inputs_for, read_problem
from merging.unit_maps import mapped


class PartialZip(nn.Module):
    """The merged trunk and every model's head; `forward` gives all heads' logits side by side, (n, sum of classes).

    graph: of the models.  trunk: its merged tensors, of which those that lie before the cut are kept.  heads: each
    model's own tensors, of which those behind it are.  node: where the trunk ends.
    reads: for each model (units, merged units), what its head reads of the trunk's units, along dimension `dim`.
    """

    def __init__(
        self,
        graph: Graph,
        trunk: dict[str, Tensor],
        heads: Sequence[dict[str, Tensor]],
        node: str,
        reads: Sequence[Tensor],
        dim: int,
    ) -> None:
        super().__init__()
        self.graph, self.node, self.dim = graph, node, dim
        behind = {operation.name for operation in graph.after(node)}
        after, before = ({*_sources(graph, behind, inside)} for inside in (True, False))
        self.trunk = _held({name: trunk[name] for name in trunk if name in before})
        self.heads = nn.ModuleList(_held({name: head[name] for name in head if name in after}) for head in heads)
        self.reads = nn.ParameterList([nn.Parameter(read, requires_grad=False) for read in reads])

    def forward(self, images: Tensor) -> Tensor:
        """images: (n, ...)."""
        trunk, heads = _tensors(self.trunk), [_tensors(head) for head in self.heads]
        merged = self.graph.run({**heads[0], **trunk}, images, until=self.node)[1][self.node]  # what lies behind the
        logits = []  # cut is named, but never read
        for head, read in zip(heads, self.reads, strict=True):
            units = torch.tensordot(merged, read.to(merged.dtype).T, ([self.dim], [0])).movedim(-1, self.dim)
            logits.append(self.graph.resume({**trunk, **head}, images, self.node, units))
        return torch.cat(logits, 1)

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
    ready, batches = checked_models(models, None), as_batches(data)
    inputs = inputs_for(ready[0], None, batches)
    problem, _ = read_problem(ready, None, inputs, batches, seed, report or silent, unequal_widths=False)
    layer = problem.graph.layer(until)
    group = _group_at(problem.spec, layer.node, until)
    problem.graph.after(layer.node)  # refuses a cut that a shortcut crosses, before any work is done
    wishes = read_settings(ZipItSettings, {"choose": False, **(settings or {})})
    found = zipit(problem, wishes)
    maps = [dict(own) for own in found.maps]
    moved = [
        mapped(model, problem.spec, ready[0], permutation, own)
        for model, permutation, own in zip(ready, found.permutations, maps, strict=True)
    ]
    trunk = named_tensors(middle(problem, [named_tensors(model) for model in moved]))
    reads = [own[group].use if group in own else _still(problem.spec.sizes[group]).use for own in maps]
    return PartialZip(problem.graph, trunk, [named_tensors(m) for m in ready], layer.node, reads, layer.dim).eval()


def _sources(graph: Graph, behind: set[str], inside: bool) -> Iterator[str]:
    """Names of the tensors that operations behind the cut read (inside), or those before it."""
    for operation in graph.nodes:
        if (operation.name in behind) == inside:
            yield from (graph.sources[s.name] for s in operation.all_input_nodes if s.name in graph.sources)


def _group_at(spec: PermutationSpec, node: str, layer: str) -> str:
    for group in spec.groups:
        if group.linear and any(site.node == node and site.offset == 0 for site in group.nodes):
            return group.name
    raise InvalidRequest(f"The units at layer {layer} cannot be mixed. Choose a hidden layer, such as an activation.")


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
