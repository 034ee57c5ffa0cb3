"""A torch module as one flat graph of ATen operators: name its layers, run it with any weights, up to any node.

graph = export(model, example)
output, kept = graph.run(named_tensors(other), images, keep=[graph.layer("features.4").node])
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from merging.errors import IncompatibleModels, InvalidRequest, UnknownLayer, UnsupportedOperation
from merging.network.graph import interpreter
from merging.network.graph.caches import refuse_copies
from merging.network.graph.export import check_memory, exported, operations_of, sources_of
from merging.network.graph.image_axes import ImageAxis, image_axes, two_runs
from merging.network.graph.layers import Layer, block_outputs, find_layers, is_layer
from merging.network.graph.tokens import token_range
from merging.network.memory_format import fastest_order
from merging.network.permutation import named_tensors

__all__ = ["Graph", "Layer", "difference", "export"]


@dataclass(frozen=True, eq=False)
class Graph:
    """A network's structure, without its weights.

    nodes: its operations in network order.  input, output: node names.  sources: placeholder -> tensor name as in
    `permutation.named_tensors`.  shapes: tensor name -> shape, of all tensors.  constants: placeholder -> a tensor that
    is neither parameter nor buffer.  record: what every node gave on the example.  tokens: the lowest input and one
    more than the highest where inputs are integers, else None.  images: node -> where its value holds the images.
    """

    nodes: tuple[Node, ...]
    input: str
    output: str
    sources: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, Tensor]
    record: interpreter.Record
    tokens: tuple[int, int] | None
    images: Mapping[str, ImageAxis]

    def run(
        self, tensors: Mapping[str, Tensor], x: Tensor, keep: Iterable[str] = (), until: str | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Run the network with these weights, in the caller's grad mode.

        tensors: name -> tensor, as from `named_tensors`, of this structure.  x: (n, ...) like the example, any n.
        keep: nodes whose values come back; later in-place operations do not reach them.  until: the last node to run;
        it is kept too, and the output is then None.  Raises IncompatibleModels where a tensor is missing and
        UnknownLayer where a node is.
        """
        wanted = {*keep} if until is None else {*keep, until}
        values = self._values(tensors, x, wanted)
        kept = interpreter.run(self._program, values, x.device, wanted, until)
        return (values[self.output] if until is None else None), kept

    def walk(
        self, tensors: Mapping[str, Tensor], x: Tensor, nodes: Iterable[str], start: tuple[str, Tensor] | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """Run the network and stop at each of `nodes` on the way: (node, its value), in network order, no copies.

        tensors, x: as for `run`, x of shape (n, ...).  start: a node with its value, to run only what follows from it,
        as `resume` does.
        Use a value before asking for the next one, which may overwrite it; what nothing needs is freed, so that
        memory holds a few values and not all. Ends after the last of `nodes`. Otherwise as `run`.
        """
        wanted = {*nodes}
        values, program = self._values(tensors, x, wanted), self._program
        if start is not None:
            values |= {start[0]: start[1]}
            program = interpreter.steps(self.after(start[0]), self.output)
            if start[0] in wanted:
                yield start
        yield from interpreter.walk(program, values, x.device, wanted)

    def resume(self, tensors: Mapping[str, Tensor], x: Tensor, node: str, value: Tensor) -> Tensor:
        """The output where `node` has this value: only what follows from it is run.

        tensors: as for `run`.  x: (n, ...), for its size alone.  value: of the shape that the node has for x.
        Raises InvalidRequest as `after` does.
        """
        values = self._values(tensors, x, {node}) | {node: value}
        program = interpreter.steps(self.after(node), self.output)
        interpreter.run(program, values, x.device, set(), None)
        output: Tensor = values[self.output]
        return output

    def ordered(self, tensors: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Images (n, ...), n > 0, with their numbers in the order in which a CPU runs this network fastest.

        That is a matter of its operations: with the first tensors that are asked for, one image is tried in both orders
        as in `memory_format.fastest_order`. The values that `run` and `walk` then give lie in that order, too.
        """
        if images.device.type != "cpu":
            return images
        if not self._order:
            self._order.append(fastest_order(lambda x: self.run(tensors, x)[0], images[:1]))
        return images.to(memory_format=self._order[0])

    def after(self, node: str) -> list[Node]:
        """The operations that the output needs once the node is known, in network order.

        Raises InvalidRequest where one of them also reads what comes before the node.
        """
        needed, found = {self.output}, []
        for operation in reversed(self.nodes):
            if operation.name in needed and operation.name != node:
                found.append(operation)
                needed.update(source.name for source in operation.all_input_nodes)
        reads = [operation for operation in found if self.input in {s.name for s in operation.all_input_nodes}]
        if any(isinstance(self.record.values[operation.name], (tuple, list)) for operation in reads):
            raise InvalidRequest(f"What follows {self.name_of(node)} also reads what comes before it. Cut elsewhere.")
        return found[::-1]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Convolutions, linear layers, norms, activations, pools and sums of two streams, in network order."""
        return self._named[0]

    def layer(self, name: str) -> Layer:
        """The layer of that name; a block's name means its output. Raises UnknownLayer naming the nearest ones."""
        by_name = {layer.name: layer for layer in self.layers}
        by_node = {layer.node: layer for layer in self.layers}
        found = by_name.get(name) or by_node.get(block_outputs(self.nodes).get(name, ""))
        if found is None:
            near = difflib.get_close_matches(name, by_name, n=4, cutoff=0.3) or list(by_name)[:4]
            raise UnknownLayer(f"This network has no layer {name!r}. Near: {', '.join(near)}.")
        return found

    def name_of(self, node: str) -> str:
        """A person's name for any operation, and the tensor's name for a weight."""
        return self._named[1].get(node) or self.sources.get(node, node)

    @cached_property
    def signature(self) -> str:
        """sha256 of the operators, their attributes and the tensors' names and shapes; equal for one structure."""
        lines = [f"{name} {shape}" for name, shape in sorted(self.shapes.items())]
        operations = [f"{operator} {attributes}" for _, operator, attributes in self.operations]
        return hashlib.sha256("\n".join([*lines, *operations]).encode()).hexdigest()

    @cached_property
    def operations(self) -> tuple[tuple[str, str, str], ...]:
        """Every node as (node, operator, attributes in words that depend on structure alone), then the output."""
        known = {node: f"<{name}>" for node, name in self.sources.items()} | {self.input: "<input>"}
        known |= {node: f"<{_digest(constant)}>" for node, constant in self.constants.items()}
        known |= {node.name: f"%{number}" for number, node in enumerate(self.nodes)}
        found = []
        for node in self.nodes:
            kwargs = {key: value for key, value in sorted(node.kwargs.items()) if key != "device"}
            found.append((node.name, str(node.target), f"{_spell(node.args, known)} {_spell(kwargs, known)}"))
        return (*found, (self.output, "output", known[self.output]))

    def _values(self, tensors: Mapping[str, Tensor], x: Tensor, wanted: set[str]) -> dict[str, Any]:
        """What is known before the first operation: node -> input, weight or constant."""
        if unknown := wanted - self.record.values.keys():
            raise UnknownLayer(f"This network has no node {', '.join(sorted(unknown))}.")
        try:
            values: dict[str, Any] = {node: tensors[name] for node, name in self.sources.items()}
        except KeyError as error:
            raise IncompatibleModels(f"These weights have no tensor {error}, which the network uses.") from error
        values |= {node: constant.to(x.device) for node, constant in self.constants.items()}
        values[self.input] = x.clone() if self.input in self.record.written else x
        return values

    @cached_property
    def _named(self) -> tuple[tuple[Layer, ...], dict[str, str]]:
        shapes = {name: shape for name, shape in self.record.values.items() if isinstance(shape, tuple)}
        active = {self.input}
        for node in self.nodes:
            if any(source.name in active for source in node.all_input_nodes):
                active.add(node.name)
        return find_layers(self.nodes, shapes, active, self.images)

    @cached_property
    def _order(self) -> list[torch.memory_format]:
        return []

    @cached_property
    def _program(self) -> tuple[interpreter.Step, ...]:
        return interpreter.steps(self.nodes, self.output)


class ModuleWithGraph(nn.Module):
    """A module that knows its graph, so that nothing has to be exported."""

    def graph_on(self, example: Tensor) -> Graph:
        """The graph, recorded on example (n, ...); n may be 1. Raises UnsupportedOperation where it does not run."""
        raise NotImplementedError


@torch.inference_mode(False)  # the caller's would make tensors that cannot be recorded
def export(model: nn.Module, example: Tensor) -> Graph:
    """The graph of `model` in eval mode, for any number of images shaped like example (n, ...); n may be 1.

    The model is left as it is. Raises UnsupportedOperation, in words, where the model cannot be written as one graph.
    """
    if isinstance(model, ModuleWithGraph):
        return model.graph_on(example)
    program, twin, example = exported(model, example)
    tensors = named_tensors(twin)
    check_memory(tensors)
    sources, constants = sources_of(program, twin)
    refuse_copies({name: tensors[name] for name in tensors.keys() - sources.values()}, constants.values())
    nodes = operations_of(program)
    (result,) = next(node for node in program.graph.nodes if node.op == "output").args[0]
    x = program.graph_signature.user_inputs[0]
    try:
        return recorded(nodes, x, result.name, sources, tensors, constants, example)
    except RuntimeError as error:  # the forward pass caught an operation's error, which the graph cannot do
        raise UnsupportedOperation(f"The network's graph does not run by itself: {error}") from error


def recorded(
    nodes: tuple[Node, ...],
    x: str,
    output: str,
    sources: Mapping[str, str],
    tensors: Mapping[str, Tensor],
    constants: Mapping[str, Tensor],
    example: Tensor,
) -> Graph:
    """The graph of these operations, run on the example. tensors: name -> tensor of any shape; x: the input's node.

    Raises UnsupportedOperation where the run changes a weight, and what the operations raise.
    """
    values: dict[str, Any] = {node: tensors[name] for node, name in sources.items()} | dict(constants)
    steps = interpreter.steps(nodes, output)
    with torch.no_grad():
        record = interpreter.record(steps, values | {x: example.clone()}, example.device)
    if changed := [sources.get(node, node) for node in record.written if node != x]:
        raise UnsupportedOperation(
            f"The forward pass changes {changed[0]} in place, also in eval mode: it has no fixed weights."
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    tokens = None if example.is_floating_point() else token_range(nodes, x, record.values, example)
    one, other = ({**values, x: images} for images in two_runs(example, tokens))
    shown = {node.name for node in nodes if is_layer(node) and isinstance(record.values[node.name], tuple)}
    with torch.no_grad():
        images = image_axes(steps, (one, other), x, record.values, shown)
    return Graph(nodes, x, output, sources, shapes, constants, record, tokens, images)


def difference(a: Graph, b: Graph) -> str:
    """ "" where both have one structure, else a sentence that names the first difference."""
    for name in [*a.shapes, *b.shapes]:
        if name not in a.shapes or name not in b.shapes:
            return f"Only the {'first' if name in a.shapes else 'second'} network has a tensor {name}."
        if a.shapes[name] != b.shapes[name]:
            return f"{name} has shape {a.shapes[name]} in the first network and {b.shapes[name]} in the second."
    for (node, operator, attributes), (other, operator_b, attributes_b) in zip(
        a.operations, b.operations, strict=False
    ):
        name, name_b = a.name_of(node), b.name_of(other)
        if operator != operator_b:
            return f"{name} is {operator} in the first network; there the second has {operator_b} ({name_b})."
        if attributes != attributes_b:
            return (
                f"{name} is {operator} in both networks, with {attributes} in the first, {attributes_b} in the second."
            )
    return ""


def _digest(constant: Tensor) -> str:
    data = constant.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"constant {tuple(constant.shape)} {hashlib.sha256(data).hexdigest()[:12]}"


def _spell(arg: Any, known: Mapping[str, str]) -> str:
    if isinstance(arg, Node):
        return known[arg.name]
    if isinstance(arg, (list, tuple)):
        return f"[{', '.join(_spell(item, known) for item in arg)}]"
    if isinstance(arg, dict):
        return ", ".join(f"{key}={_spell(value, known)}" for key, value in arg.items())
    return repr(arg)
