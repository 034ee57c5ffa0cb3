"""Network of a partial zip: one merged trunk, and one head per model after the cut layer."""

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

# Operators that treat every unit separately, equally and linearly, so that they commute with a mixture of units.
PASSING = {"flatten", "view", "reshape", "dropout", "mean", "avg_pool1d", "avg_pool2d", "avg_pool3d"}
PASSING |= {"adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"}


@dataclass(frozen=True)
class Own:
    """One model's part after the cut.

    Attributes:
        graph: graph of the whole model.
        tensors: all tensors of the model, name -> tensor.
        reads: (units, merged units), map from the trunk's merged units to the model's units at the cut.
    """

    graph: Graph
    tensors: Mapping[str, Tensor]
    reads: Tensor


class PartialZip(nn.Module):
    """Merged trunk with every model's head; `forward` returns all heads' logits side by side, (n, sum of classes).

    Args:
        trunk: merged tensors of the first model's structure; those read before the cut are stored.
        own: one per model; of its tensors, those read after the cut are stored. All graphs have the same structure
            except for the number of outputs.
        until: the layer at which the trunk ends.
        notes: notes of ZipIt!.
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
        """Return all heads' logits, (n, sum of classes). images: (n, ...)."""
        each = zip(self.graphs, self.cuts, self._read(images), strict=True)
        return torch.cat([graph.resume(held, images, cut, units) for graph, cut, (held, units) in each], 1)

    def _read(self, images: Tensor) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Yield, per head, the tensors of trunk and head, and the model's units at the cut on images (n, ...)."""
        trunk, heads = _tensors(self.trunk), [_tensors(head) for head in self.heads]
        node, dim = self.until.node, self.until.dim
        # The graph needs all tensors by name; those of the head are not read before the cut.
        merged = self.graphs[0].run({**heads[0], **trunk}, images, until=node)[1][node]
        for head, read in zip(heads, self.reads, strict=True):
            yield {**trunk, **head}, torch.tensordot(merged, read.to(merged.dtype).T, ([dim], [0])).movedim(-1, dim)

    def reset_batch_norm(self, data: Batches) -> None:
        """Reset the running statistics of the heads' BatchNorms in place to their mean over the batches of `data`."""
        norms = [_running(graph, cut) for graph, cut in zip(self.graphs, self.cuts, strict=True)]
        if not any(norms):
            return
        own, statistics = [_tensors(head) for head in self.heads], [dict[str, list[Tensor]]() for _ in self.heads]
        for images, _ in data.on_model(self):
            for number, (held, units) in enumerate(self._read(images)):
                start = (self.cuts[number], units)
                for node, value in self.graphs[number].walk(held, images, norms[number], start):
                    moments = torch.var_mean(value, [dim for dim in range(value.dim()) if dim != 1])
                    for names in norms[number][node]:
                        for name, now in zip(names, reversed(moments), strict=True):
                            held[name].copy_(now)  # the next operation, the BatchNorm, normalises by it
                            statistics[number].setdefault(name, []).append(now)
        for head, by_name in zip(own, statistics, strict=True):
            for name, values in by_name.items():
                head[name].copy_(torch.stack(values).mean(0))

    def share(self, models: Sequence[nn.Module]) -> float:
        """Return the number of parameters of trunk and heads, as a share of the models' total.

        A head's map `reads` counts if it cannot be multiplied into the weights that follow: before a nonlinearity, or
        if a shortcut also reads the units.
        """
        weights = [{name for name, _ in model.named_parameters()} for model in models]
        count = _count(_tensors(self.trunk), weights[0])
        count += sum(_count(_tensors(head), own) for head, own in zip(self.heads, weights, strict=True))
        if not _folds(self.graphs[0], self.cuts[0]):
            count += sum(read.numel() for read in self.reads)
        return count / sum(_count(named_tensors(model), own) for model, own in zip(models, weights, strict=True))

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors on the CPU: trunk.NAME, heads.K.NAME, and reads.K, (units, merged units)."""
        tensors = {f"trunk.{name}": tensor for name, tensor in _tensors(self.trunk).items()}
        for number, head in enumerate(self.heads):
            tensors |= {f"heads.{number}.{name}": tensor for name, tensor in _tensors(head).items()}
        tensors |= {f"reads.{number}": read for number, read in enumerate(self.reads)}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def program(self, example: Tensor) -> bytes:
        """Return the network as a `torch.export` file that torch alone can run, on the same device and any batch size.

        torch.export.load(file).module()(images) returns the same as `forward`. example: 2 or more images, (n, ...).
        """
        exported = torch.export.export(self, (example,), dynamic_shapes=({0: Dim.AUTO},), strict=False)
        out = io.BytesIO()
        torch.export.save(exported, out)
        return out.getvalue()


def _sources(graph: Graph, cut: str, *, behind: bool) -> set[str]:
    """Return the names of the tensors read by operations after the cut (`behind`) or before it."""
    after = {operation.name for operation in graph.after(cut)}
    readers = [operation for operation in graph.nodes if (operation.name in after) == behind]
    return {graph.sources[s.name] for one in readers for s in one.all_input_nodes if s.name in graph.sources}


def _running(graph: Graph, cut: str) -> dict[str, list[tuple[str, str]]]:
    """Return input node -> names of the running mean and variance, for each BatchNorm after the cut."""
    statistics: dict[str, list[tuple[str, str]]] = {}
    for operation in graph.after(cut):
        if operator_name(operation) == "batch_norm":
            read, _, _, mean, variance = operation.args[:5]
            if isinstance(mean, Node) and isinstance(variance, Node) and isinstance(read, Node):
                names = graph.sources[mean.name], graph.sources[variance.name]
                statistics.setdefault(read.name, []).append(names)
    return statistics


def _folds(graph: Graph, cut: str) -> bool:
    """Return whether only convolutions and linear layers read the cut's units, so that `reads` folds into them."""
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
    """Return the tensors of these names as module parameters; "/" replaces ".", which torch does not allow in names."""
    own = {name.replace(".", "/"): tensor for name, tensor in tensors.items() if name in names}
    return nn.ParameterDict({name: nn.Parameter(own[name].clone(), requires_grad=False) for name in own})


def _tensors(held: nn.Module) -> dict[str, Tensor]:
    return {name.replace("/", "."): tensor for name, tensor in held.named_parameters()}
