"""Tracing finds the tensor axes of a network that must be permuted together: graph -> PermutationSpec.

Every tensor axis starts with its own units. The rules in `rules` unify, split and contract them along the graph. Units
that reach the input or the output are pinned. An operation without a rule raises an error that names it, so the result
is either a correct spec or an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.fx import Node

from merging.errors import UnsupportedOperation
from merging.network.graph.graph import Graph, export
from merging.network.graph.layers import MAKES_UNITS, operator_kind, operator_name
from merging.network.permutation import Axis, Group, PermutationSpec, Site
from merging.network.tracing.labels import FIXED, Dim, Labels, Layout, LayoutConflict, fixed, part_size, size_of
from merging.network.tracing.proof import verify
from merging.network.tracing.rules import RULES, Operation, elementwise, refusal, shapes
from merging.network.tracing.rules.base import TAKES_STACKS, Stack, names_in

__all__ = ["coverage", "trace", "trace_graph", "verify"]

# Operators outside rules.shapes that return a weight unchanged.
COPIES = {"clone", "detach", "detach_", "contiguous", "alias", "to", "_to_copy", "dropout", "lift_fresh_copy"}


def trace(model: nn.Module, example: Tensor) -> PermutationSpec:
    """Return the permutation groups of `model`. example: (n, ...) images, n may be 1.

    Raises UnsupportedOperation with the operation that cannot be traced and the remedy.
    """
    return trace_graph(export(model, example))


def trace_graph(graph: Graph) -> PermutationSpec:
    """Return the permutation groups of an exported network. Raises UnsupportedOperation as `trace` does."""
    try:
        return _Tracer(graph).spec()
    except UnsupportedOperation as error:
        if ".parametrizations." not in str(error):
            raise
        raise UnsupportedOperation(
            f"{error} The weight is computed by a parametrization. Call torch.nn.utils.parametrize."
            "remove_parametrizations(layer, 'weight') to replace it with the resulting weight."
        ) from error


class _Tracer:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.labels = graph, Labels()
        used = {*graph.sources.values()}  # a tensor that no operation reads has no known order
        self.tensors = {
            name: Layout(tuple(self.labels.fresh(size, owned=True) if size else fixed(0) for size in shape))
            for name, shape in graph.shapes.items()
            if name in used
        }
        self.values: dict[str, Any] = {node: self.tensors[name] for node, name in graph.sources.items()}
        for node, constant in graph.constants.items():
            self.values[node] = Layout(tuple(fixed(size) for size in constant.shape))
        self.values[graph.input] = Layout(tuple(fixed(size) for size in graph.record.values[graph.input]))
        self.weights = {*graph.sources, *graph.constants}  # nodes that do not depend on the images
        self.made: set[int] = set()  # original labels of the weight axes along which units are produced
        self.used: set[int] = set()  # the same for the weight axes that are summed over

    def spec(self) -> PermutationSpec:
        for node in self.graph.nodes:
            self.values[node.name] = self._follow(node)
        for layout in self._seen(self.graph.output):
            for dim in layout.dims:
                self.labels.pin(dim)
        try:
            return PermutationSpec(tuple(self._groups()))
        except LayoutConflict as conflict:
            raise UnsupportedOperation(f"The network's units cannot be divided into groups: {conflict}.") from conflict

    def _follow(self, node: Node) -> Any:
        shape = self.graph.record.values[node.name]
        if not _is_tensor(shape):
            return shape  # a number, such as the batch size
        if operator_name(node) == "getitem":
            return self._read(node.args[0])[node.args[1]]
        name, reads = self.graph.name_of(node.name), _results_read(node)
        of_weights = all(source.name in self.weights for source in node.all_input_nodes)
        op = Operation(node.name, name, str(node.target), shape, self.labels, reads=reads, of_weights=of_weights)
        rule = RULES.get(_overload(node)) or RULES.get(operator_name(node))
        if rule is None or getattr(node.target, "namespace", "") != "aten":
            op.refuse(*refusal(operator_name(node)))
        try:
            stacks = rule in TAKES_STACKS
            args, kwargs = self._read(node.args, stacks), self._read(node.kwargs, stacks)
            self._check_in_place(op, args, alike=rule.__module__ == elementwise.__name__)
            result = self._checked(op, rule(op, *args, **kwargs))
        except LayoutConflict as conflict:
            op.refuse(str(conflict))
        self._note_roles(node, op, moves_only=rule.__module__ == shapes.__name__ or operator_name(node) in COPIES)
        return result

    def _note_roles(self, node: Node, op: Operation, *, moves_only: bool) -> None:
        """Record the weight axes along which this operation produces units, and those that it sums over."""
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
            *(result, op.shape) if isinstance(result, list) else ([result], [op.shape]), strict=True
        ):
            sizes = layout.sizes if isinstance(layout, Stack) else tuple(size_of(dim) for dim in layout.dims)
            spread = len(sizes) == len(shape) and all(a in (b, 1) for a, b in zip(sizes, shape, strict=True))
            if not spread or sizes != tuple(shape):
                op.refuse(f"its result has shape {tuple(shape)} instead of {sizes}")
        return result

    def _check_in_place(self, op: Operation, operands: list[Any], *, alike: bool) -> None:
        """Refuse an in-place change of a value with units if the value is read later.

        alike: the operation is elementwise. An elementwise operation is safe: the value's views share its units, so
        they see the change in the same order.
        """
        dims = [dim for layout in operands if isinstance(layout, Layout) for dim in layout.dims]
        if alike and any(map(self.labels.owned, dims)):
            return
        for name in self.graph.record.hazards.get(op.node, ()):
            for layout in self._seen(name):
                for dim in layout.dims:
                    what = f"changes {self.graph.name_of(name)}, which is read later, in place"
                    op.positions(dim, what, "Make a new tensor there, with torch.where or torch.cat.")

    def _seen(self, name: str) -> list[Layout]:
        """Return the layouts of a value's tensors, with stacks united."""
        values = self.values[name]
        listed = values if isinstance(values, list) else [values]
        return [value.united(self.labels) if isinstance(value, Stack) else value for value in listed]

    def _read(self, arg: Any, stacks: bool = False) -> Any:
        if isinstance(arg, Node):
            value = self.values[arg.name]
            return value.united(self.labels) if isinstance(value, Stack) and not stacks else value
        if isinstance(arg, (list, tuple)):
            return [self._read(item, stacks) for item in arg]
        return {key: self._read(value, stacks) for key, value in arg.items()} if isinstance(arg, dict) else arg

    def _groups(self) -> Iterator[Group]:
        axes: dict[int, list[Axis]] = {}
        sizes: dict[int, int] = {}
        unmixable: set[int] = set()  # labels whose units may not be mixed linearly
        for name, layout in self.tensors.items():
            for place, dim in enumerate(layout.dims):
                resolved, own = self.labels.resolve(dim), names_in(dim)
                for label, size, block, offset in _runs(self.labels, resolved):
                    axes.setdefault(label, []).append(Axis(name, place, block, offset, bool(own & self.used)))
                    sizes[label] = size
                    unmixable |= {label} if own & self.used & self.made else set()
                nested = [(part,) for part in resolved if sum(atom.label != FIXED for atom in part) > 1]
                unmixable.update(label for part in nested for label, *_ in _runs(self.labels, part))
        names, sites = self._places()
        group_names: set[str] = set()
        for label in [*(label for label in names if label in axes), *(label for label in axes if label not in names)]:
            name = names.get(label, axes[label][0].parameter)
            while name in group_names:
                name += "'"
            group_names.add(name)
            yield Group(name, sizes[label], tuple(axes[label]), tuple(sites.get(label, ())), label not in unmixable)

    def _places(self) -> tuple[dict[int, str], dict[int, list[Site]]]:
        """Return label -> first layer that produces its units, and label -> its sites, both in network order."""
        names: dict[int, str] = {}
        sites: dict[int, list[Site]] = {}
        for layer in self.graph.layers:
            for place, dim in enumerate(self.values[layer.node].dims):
                runs = list(_runs(self.labels, self.labels.resolve(dim)))
                for label, size, block, offset in runs:
                    if layer.kind in MAKES_UNITS and place == layer.dim:
                        whole = len(runs) == 1 and size == size_of(dim)
                        span = f"[{offset}:{offset + size * block}]"
                        names.setdefault(label, layer.name if whole else layer.name + span)
                counts = Counter(label for label, *_ in runs)
                for label, _, block, offset in runs:
                    if block == 1 and counts[label] == 1:
                        sites.setdefault(label, []).append(Site(layer.node, place, layer.name, offset))
        return names, sites


def _runs(labels: Labels, dim: Dim) -> Iterator[tuple[int, int, int, int]]:
    """Yield every run of units in a resolved dimension as (label, size, block, offset)."""
    start = 0
    for part in dim:
        for number, atom in enumerate(part):
            if atom.label == FIXED:
                continue
            block, inside = part_size(part[number + 1 :]), labels.inside(atom)
            runs = list(_runs(labels, labels.resolve(inside))) if inside else [(atom.label, atom.size, 1, 0)]
            for repeat in range(part_size(part[:number])):
                offset = start + repeat * atom.size * block
                yield from ((label, size, inner * block, offset + at * block) for label, size, inner, at in runs)
        start += part_size(part)


def _is_tensor(shape: Any) -> bool:
    return isinstance(shape, tuple) or (isinstance(shape, list) and all(_is_tensor(item) for item in shape))


def _results_read(node: Node) -> frozenset[int]:
    """Return the indices of an operation's results that another operation reads."""
    items = (user for user in node.users if user.users and operator_name(user) == "getitem")
    return frozenset(item.args[1] for item in items if isinstance(item.args[1], int))


def _overload(node: Node) -> str:
    return f"{operator_name(node)}.{getattr(node.target, '_overloadname', '')}"


def coverage(graph: Graph, spec: PermutationSpec) -> tuple[int, int]:
    """Return the number of hidden units that are in a group, and the number of all hidden units.

    Only convolutions, linear and recurrent layers count.
    """
    grouped: dict[tuple[str, int], set[int]] = {}
    for name, pairs in spec.by_parameter.items():
        for axis, group in pairs:
            grouped.setdefault((name, axis.dim), set()).update(_extent(axis, group))
    axes = [
        (graph.sources[weight.name], dim)
        for node in graph.nodes
        for weight, dim in _making(node)
        if isinstance(weight, Node) and weight.name in graph.sources
    ]
    hidden = dict.fromkeys(axes[:-1])  # the last one produces the outputs
    units = sum(graph.shapes[name][dim] for name, dim in hidden)
    return sum(len(grouped.get(axis, ())) for axis in hidden), units


def _making(node: Node) -> list[tuple[Any, int]]:
    """Return the weights that produce an operation's units, each with the dimension that has one index per unit."""
    name = operator_name(node)
    if name.startswith(("conv", "linear")):
        return [(node.args[1], 0)] if len(node.args) > 1 else []
    if operator_kind(node) != "recurrent" or name == "getitem":
        return []
    if name.endswith("_cell"):
        return [(node.args[3], 1)]
    weights, layers, both = node.args[2], node.args[4], node.args[7]
    return [(weight, 1) for weight in weights[1 :: len(weights) // (layers * (1 + both))]]  # type: ignore


def _extent(axis: Axis, group: Group) -> range:
    return range(axis.offset, axis.offset + group.size * axis.block)
