"""The network that a partial zip makes: one trunk, and what every model does with it after the cut."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.fx import Node

from merging.network.data import Batches
from merging.network.graph.graph import Graph, Layer
from merging.network.graph.layers import operator_name
from merging.network.permutation import named_tensors

# Operators that pass units on one by one and alike, whatever the units are: a mixture goes through them.
PASSING = {"flatten", "view", "reshape", "dropout", "mean", "avg_pool1d", "avg_pool2d", "avg_pool3d"}
PASSING |= {"adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"}


@dataclass(frozen=True)
class Own:
    """One model's part behind the cut. graph: of the model.  tensors: its own, whole.  reads: (units, merged units),
    what it reads of the trunk's units."""

    graph: Graph
    tensors: Mapping[str, Tensor]
    reads: Tensor


class PartialZip(nn.Module):
    """The merged trunk and every model's head; `forward` gives all heads' logits side by side, (n, sum of classes).

    trunk: merged tensors of the first model's structure, of which those that lie before the cut are kept.  own: of
    every model, of whose tensors those behind the cut are kept; graphs of one structure up to the number of outputs.
    until: the layer at which the trunk ends.  notes: of ZipIt!.
    """

    def __init__(self, trunk: Mapping[str, Tensor], own: Sequence[Own], until: Layer, notes: Mapping[str, Any]) -> None:
        super().__init__()
        self.graphs, self.until, self.notes = [one.graph for one in own], until, dict(notes)
        at = [node.name for node in self.graphs[0].nodes].index(until.node)
        self.cuts = [graph.nodes[at].name for graph in self.graphs]
        self.trunk = _held(trunk, _sources(self.graphs[0], until.node, behind=False))
        self.heads = nn.ModuleList(
            _held(one.tensors, _sources(one.graph, cut, behind=True)) for one, cut in zip(own, self.cuts, strict=True)
        )
        self.reads = nn.ParameterList(
            [nn.Parameter(one.reads.contiguous().clone(), requires_grad=False) for one in own]
        )

    def forward(self, images: Tensor) -> Tensor:
        """images: (n, ...)."""
        each = zip(self.graphs, self.cuts, self._read(images), strict=True)
        return torch.cat([graph.resume(held, images, cut, units) for graph, cut, (held, units) in each], 1)

    def _read(self, images: Tensor) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Of every head: the tensors of trunk and head, and what it reads of the trunk on images (n, ...)."""
        trunk, heads = _tensors(self.trunk), [_tensors(head) for head in self.heads]
        node, dim = self.until.node, self.until.dim
        merged = self.graphs[0].run({**heads[0], **trunk}, images, until=node)[1][node]  # what lies behind is named,
        for head, read in zip(heads, self.reads, strict=True):  # but never read
            yield {**trunk, **head}, torch.tensordot(merged, read.to(merged.dtype).T, ([dim], [0])).movedim(-1, dim)

    def reset_batch_norm(self, data: Batches) -> None:
        """Take the running statistics of the heads' BatchNorms from `data`, in place: the mean over its batches."""
        norms = [_running(graph, cut) for graph, cut in zip(self.graphs, self.cuts, strict=True)]
        if not any(norms):
            return
        own, found = [_tensors(head) for head in self.heads], [dict[str, list[Tensor]]() for _ in self.heads]
        for images, _ in data.on_model(self):
            for number, (held, units) in enumerate(self._read(images)):
                start = (self.cuts[number], units)
                for node, value in self.graphs[number].walk(held, images, norms[number], start):
                    moments = torch.var_mean(value, [dim for dim in range(value.dim()) if dim != 1])
                    for names in norms[number][node]:
                        for name, now in zip(names, reversed(moments), strict=True):
                            held[name].copy_(now)  # the norm that comes next reads it
                            found[number].setdefault(name, []).append(now)
        for head, measured in zip(own, found, strict=True):
            for name, values in measured.items():
                head[name].copy_(torch.stack(values).mean(0))

    def share(self, models: Sequence[nn.Module]) -> float:
        """How many parameters trunk and heads have, as a share of the models'.

        What a head reads of the trunk counts where it cannot be multiplied into the weights that read it: before a
        nonlinearity, or where a shortcut also carries the units on.
        """
        weights = [{name for name, _ in model.named_parameters()} for model in models]
        held = _count(_tensors(self.trunk), weights[0])
        held += sum(_count(_tensors(head), own) for head, own in zip(self.heads, weights, strict=True))
        if not _folds(self.graphs[0], self.cuts[0]):
            held += sum(read.numel() for read in self.reads)
        return held / sum(_count(named_tensors(model), own) for model, own in zip(models, weights, strict=True))

    def tensors(self) -> dict[str, Tensor]:
        """All it holds on the CPU, of the models' shapes: trunk.NAME, heads.K.NAME, reads.K (units, merged units)."""
        found = {f"trunk.{name}": tensor for name, tensor in _tensors(self.trunk).items()}
        for number, head in enumerate(self.heads):
            found |= {f"heads.{number}.{name}": tensor for name, tensor in _tensors(head).items()}
        found |= {f"reads.{number}": read for number, read in enumerate(self.reads)}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}

    def program(self, example: Tensor) -> bytes:
        """The network as `torch.export` saves it: torch alone runs it again, on its device, on any number of images.

        torch.export.load(file).module()(images) gives what `forward` does.  example: images (2 or more, ...).
        """
        made = torch.export.export(self, (example,), dynamic_shapes=({0: Dim.AUTO},), strict=False)
        out = io.BytesIO()
        torch.export.save(made, out)
        return out.getvalue()


def _sources(graph: Graph, cut: str, *, behind: bool) -> set[str]:
    """Names of the tensors that operations behind the cut read, or those before it."""
    after = {operation.name for operation in graph.after(cut)}
    readers = [operation for operation in graph.nodes if (operation.name in after) == behind]
    return {graph.sources[s.name] for one in readers for s in one.all_input_nodes if s.name in graph.sources}


def _running(graph: Graph, cut: str) -> dict[str, list[tuple[str, str]]]:
    """Behind a cut: each node that BatchNorms read -> their running means and variances, by the tensors' names."""
    found: dict[str, list[tuple[str, str]]] = {}
    for operation in graph.after(cut):
        if operator_name(operation) == "batch_norm":
            read, _, _, mean, variance = operation.args[:5]
            if isinstance(mean, Node) and isinstance(variance, Node) and isinstance(read, Node):
                found.setdefault(read.name, []).append((graph.sources[mean.name], graph.sources[variance.name]))
    return found


def _folds(graph: Graph, cut: str) -> bool:
    """Whether all that reads the cut's units weighs them, so that what a head reads goes into those weights."""
    after = graph.after(cut)
    open_ = {cut}
    for operation in after:
        if not open_ & {source.name for source in operation.all_input_nodes}:
            continue
        if operator_name(operation) in PASSING:
            open_.add(operation.name)
        elif not operator_name(operation).startswith(("conv", "linear")):
            return False
    return True


def _count(tensors: Mapping[str, Tensor], names: set[str]) -> int:
    return sum(tensor.numel() for name, tensor in tensors.items() if name in names)


def _held(tensors: Mapping[str, Tensor], names: set[str]) -> nn.ParameterDict:
    """The tensors of these names as a module's own; a dot may stand in no name of a module."""
    own = {name.replace(".", "/"): tensor for name, tensor in tensors.items() if name in names}
    return nn.ParameterDict({name: nn.Parameter(own[name].clone(), requires_grad=False) for name in own})


def _tensors(held: nn.Module) -> dict[str, Tensor]:
    return {name.replace("/", "."): tensor for name, tensor in held.named_parameters()}
