"""Which axes of a network's tensors must be permuted together: graph -> PermutationSpec, and the proof by numbers.

Every tensor axis starts as units of its own; the rules of `op_rules` unite, cut and consume them along the graph. Units
that reach the input or the output are pinned. What has no rule is refused by name, so a spec is right or there is none.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from merging.errors import UnsupportedOperation
from merging.graph import Graph, export
from merging.graph_layers import operator_name
from merging.labels import FIXED, Dim, Labels, Layout, LayoutConflict, fixed, part_size, size_of
from merging.op_rules import RULES, Operation, shapes
from merging.op_rules.base import names_in
from merging.permutation import Axis, Group, PermutationSpec, Site, permute

# Operators outside op_rules.shapes that give a weight on as it is.
COPIES = {"clone", "detach", "detach_", "contiguous", "alias", "to", "_to_copy", "dropout", "lift_fresh_copy"}

FILLS = {"zero_", "fill_"}  # write one number everywhere


def trace(model: nn.Module, example: Tensor) -> PermutationSpec:
    """The permutation groups of `model`; example: (n, ...) images, n may be 1.

    Raises UnsupportedOperation naming the operation that cannot be followed, and the remedy.
    """
    return trace_graph(export(model, example))


def trace_graph(graph: Graph) -> PermutationSpec:
    """The permutation groups of an exported network. Raises UnsupportedOperation as `trace` does."""
    return _Tracer(graph).spec()


def verify(model: nn.Module, spec: PermutationSpec, example: Tensor, seed: int = 0) -> float:
    """max |f(x) - f_pi(x)| / max |f(x)| in float64 with every group permuted at random; example: (n, ...) images.

    About 1e-15 where the spec is right, about 1 where it is wrong: deep networks give false alarms in float32.
    Infinite where an output is not a finite number, so that nothing is proven by it.
    """
    exact, x = copy.deepcopy(model).eval().double(), example.detach().double()
    with torch.no_grad():
        before = exact(x)
        after = permute(exact, spec, spec.random(seed))(x)
    error = float((before - after).abs().max()) / (float(before.abs().max()) or 1.0)
    return error if math.isfinite(error) else math.inf


class _Tracer:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.labels = graph, Labels()
        self.tensors = {
            name: Layout(tuple(self.labels.fresh(size, owned=True) for size in shape))
            for name, shape in graph.shapes.items()
        }
        self.values: dict[str, Any] = {node: self.tensors[name] for node, name in graph.sources.items()}
        for node, constant in graph.constants.items():
            self.values[node] = Layout(tuple(fixed(size) for size in constant.shape))
        self.values[graph.input] = Layout(tuple(fixed(size) for size in graph.record.values[graph.input]))
        self.weights = {*graph.sources, *graph.constants}  # nodes that no image reaches
        self.made: set[int] = set()  # labels of weights' axes, as they were named first
        self.used: set[int] = set()

    def spec(self) -> PermutationSpec:
        for node in self.graph.nodes:
            self.values[node.name] = self._follow(node)
        for dim in self.values[self.graph.output].dims:
            self.labels.pin(dim)
        try:
            return PermutationSpec(tuple(self._groups()))
        except LayoutConflict as conflict:
            raise UnsupportedOperation(f"The network's units cannot be told apart: {conflict}.") from conflict

    def _follow(self, node: Node) -> Any:
        shape = self.graph.record.values[node.name]
        if not _is_tensor(shape):
            return shape  # a number, such as the batch size
        args, kwargs = self._read(node.args), self._read(node.kwargs)
        if operator_name(node) == "getitem":
            return args[0][args[1]]
        op = Operation(node.name, self.graph.name_of(node.name), str(node.target), shape, self.labels)
        rule = RULES.get(_overload(node)) or RULES.get(operator_name(node))
        if rule is None or getattr(node.target, "namespace", "") != "aten":
            op.refuse("this operator is not known")
        try:
            self._check_in_place(op)
            result = self._checked(op, rule(op, *args, **kwargs))
        except LayoutConflict as conflict:
            op.refuse(str(conflict))
        self._note_roles(node, op, moves_only=rule.__module__ == shapes.__name__ or operator_name(node) in COPIES)
        return result

    def _note_roles(self, node: Node, op: Operation, *, moves_only: bool) -> None:
        """Which axes of weights this operation makes units along, and which it uses them along."""
        sources = [source for source in node.all_input_nodes if source.name in self.weights]
        if len(sources) == len(node.all_input_nodes) and sources:
            self.weights.add(node.name)
        if moves_only:
            return
        for source in sources:
            layouts = self.values[source.name]
            for layout in layouts if isinstance(layouts, list) else [layouts]:
                for dim in layout.dims if isinstance(layout, Layout) else ():
                    names = names_in(dim)
                    self.used |= names & (op.contracted | op.mixed)
                    self.made |= names - (op.contracted - op.mixed)

    def _checked(self, op: Operation, result: Any) -> Any:
        for layout, shape in zip(
            *([result], [op.shape]) if isinstance(result, Layout) else (result, op.shape), strict=True
        ):
            sizes = tuple(size_of(dim) for dim in layout.dims)
            spread = len(sizes) == len(shape) and all(a in (b, 1) for a, b in zip(sizes, shape, strict=True))
            if not spread or sizes != tuple(shape):
                op.refuse(f"its result has shape {tuple(shape)} and not {sizes}")
        return result

    def _check_in_place(self, op: Operation) -> None:
        """An in-place operation that other values see: only where nothing is permuted, or where all that is written is
        one number, to whole units: in whatever order they are, it finds the same ones."""
        fills = op.operator.split(".")[1] in FILLS
        for name in self.graph.record.hazards.get(op.node, ()):
            seen = self.values[name]
            for layout in seen if isinstance(seen, list) else [seen]:
                for dim in layout.dims:
                    if fills and op.labels.owned(dim):
                        continue
                    op.positions(dim, f"changes {self.graph.name_of(name)} in place, which is read later")

    def _read(self, arg: Any) -> Any:
        if isinstance(arg, Node):
            return self.values[arg.name]
        if isinstance(arg, (list, tuple)):
            return [self._read(item) for item in arg]
        return {key: self._read(value) for key, value in arg.items()} if isinstance(arg, dict) else arg

    def _groups(self) -> Iterator[Group]:
        axes: dict[int, list[Axis]] = {}
        sizes: dict[int, int] = {}
        bent: set[int] = set()  # labels whose units cannot be mixed
        for name, layout in self.tensors.items():
            for place, dim in enumerate(layout.dims):
                resolved, own = self.labels.resolve(dim), names_in(dim)
                for label, size, block, offset in _runs(resolved):
                    axes.setdefault(label, []).append(Axis(name, place, block, offset, bool(own & self.used)))
                    sizes[label] = size
                    bent |= {label} if own & self.used & self.made else set()
                nested = [[atom.label for atom in part if atom.label != FIXED] for part in resolved]
                bent.update(label for part in nested if len(part) > 1 for label in part)
        names, sites = self._places()
        taken: set[str] = set()
        for label in [*(label for label in names if label in axes), *(label for label in axes if label not in names)]:
            name = names.get(label, axes[label][0].parameter)
            while name in taken:
                name += "'"
            taken.add(name)
            yield Group(name, sizes[label], tuple(axes[label]), tuple(sites.get(label, ())), label not in bent)

    def _places(self) -> tuple[dict[int, str], dict[int, list[Site]]]:
        """Label -> the layer that makes its units first, and -> where they can be seen, both in network order."""
        names: dict[int, str] = {}
        sites: dict[int, list[Site]] = {}
        for layer in self.graph.layers:
            for place, dim in enumerate(self.values[layer.node].dims):
                runs = list(_runs(self.labels.resolve(dim)))
                for label, size, block, offset in runs:
                    if layer.kind in ("conv", "linear") and place == layer.dim:
                        whole = len(runs) == 1 and size == size_of(dim)
                        span = f"[{offset}:{offset + size * block}]"
                        names.setdefault(label, layer.name if whole else layer.name + span)
                seen = Counter(label for label, *_ in runs)
                for label, _, block, offset in runs:
                    if block == 1 and seen[label] == 1:
                        sites.setdefault(label, []).append(Site(layer.node, place, layer.name, offset))
        return names, sites


def _runs(dim: Dim) -> Iterator[tuple[int, int, int, int]]:
    """Every run of units in a resolved dimension as (label, size, block, offset)."""
    start = 0
    for part in dim:
        for number, atom in enumerate(part):
            if atom.label != FIXED:
                block, outer = part_size(part[number + 1 :]), part_size(part[:number])
                for repeat in range(outer):
                    yield atom.label, atom.size, block, start + repeat * atom.size * block
        start += part_size(part)


def _is_tensor(shape: Any) -> bool:
    return isinstance(shape, tuple) or (isinstance(shape, list) and all(_is_tensor(item) for item in shape))


def _overload(node: Node) -> str:
    return f"{operator_name(node)}.{getattr(node.target, '_overloadname', '')}"


def coverage(graph: Graph, spec: PermutationSpec) -> tuple[int, int]:
    """How many output units of the hidden convolutions and linear layers are in a group, and how many there are."""
    made = {
        name: {place for axis, group in pairs if axis.dim == 0 for place in _extent(axis, group)}
        for name, pairs in spec.by_parameter.items()
    }
    weights = [
        graph.sources[node.args[1].name]
        for node in graph.nodes
        if operator_name(node).startswith(("conv", "linear"))
        and len(node.args) > 1
        and isinstance(node.args[1], Node)
        and node.args[1].name in graph.sources
    ]
    hidden = dict.fromkeys(weights[:-1])  # the last one makes the outputs
    return sum(len(made.get(name, ())) for name in hidden), sum(graph.shapes[name][0] for name in hidden)


def _extent(axis: Axis, group: Group) -> range:
    return range(axis.offset, axis.offset + group.size * axis.block)
