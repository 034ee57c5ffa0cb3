"""A torch module as one flat graph of ATen operators, with named layers, that runs with any weights up to any node.

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
from merging.network.graph.export import Operations, check_memory, exported
from merging.network.graph.image_axes import ImageAxis, image_axes, two_runs
from merging.network.graph.layers import Layer, block_outputs, find_layers, is_layer
from merging.network.graph.tokens import token_range
from merging.network.memory_format import fastest_order, reads_strides, two_images
from merging.network.permutation import named_tensors

__all__ = ["Graph", "Layer", "export", "structural_difference"]


@dataclass(frozen=True, eq=False)
class Graph:
    """A network's structure, without its weights.

    Attributes:
        nodes: its operations in network order.
        input, output: node names.
        sources: placeholder -> tensor name, as in `permutation.named_tensors`.
        shapes: tensor name -> shape, for all tensors.
        constants: placeholder -> a tensor that is neither parameter nor buffer.
        record: the shapes and memory sharing of all values, recorded on the example.
        tokens: (lowest input, highest + 1) if the inputs are integers, else None.
        images: node -> the axis of its value that holds the images.
        order: the memory format of images in which a CPU runs the network fastest.
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
    order: torch.memory_format

    def run(
        self, tensors: Mapping[str, Tensor], x: Tensor, keep: Iterable[str] = (), until: str | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Run the network with these weights, in the caller's grad mode.

        Args:
            tensors: name -> tensor of this structure, as from `named_tensors`.
            x: (n, ...) like the example, any n.
            keep: nodes whose values are returned, unaffected by later in-place operations.
            until: the last node to run. Its value is returned too, and the output is None.
        Raises:
            IncompatibleModels: when a tensor is missing.
            UnknownLayer: when a node is missing.
        """
        wanted = {*keep} if until is None else {*keep, until}
        values = self._values(tensors, x, wanted)
        kept = interpreter.run(self._program, values, x.device, wanted, until)
        return (values[self.output] if until is None else None), kept

    def walk(
        self, tensors: Mapping[str, Tensor], x: Tensor, nodes: Iterable[str], start: tuple[str, Tensor] | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """Run the network and yield (node, value) at each of `nodes`, in network order, without copies.

        Use each value before you ask for the next one, which may overwrite it. Values that are no longer needed are
        freed, so only a few are in memory at a time. The run ends after the last of `nodes`. Errors as in `run`.

        tensors, x: as in `run`.  start: a node and its value, to run only the operations after it, as `resume` does.
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
        """Return the output when `node` has this value; only the operations after the node are run.

        tensors: as in `run`.  x: (n, ...), only its size is used.  value: the node's value for n images.
        Raises InvalidRequest as `after` does.
        """
        values = self._values(tensors, x, {node}) | {node: value}
        program = interpreter.steps(self.after(node), self.output)
        interpreter.run(program, values, x.device, set(), None)
        output: Tensor = values[self.output]
        return output

    def ordered(self, images: Tensor) -> Tensor:
        """Return images (n, ...), converted on a CPU to the memory format `order`, so that `run` and `walk` use it too.

        The format is determined once, when a network is exported on a CPU, and holds for all weights.
        """
        return images.to(memory_format=self.order) if images.device.type == "cpu" else images

    def after(self, node: str) -> list[Node]:
        """Return the operations that the output needs once the node's value is known, in network order.

        Raises InvalidRequest where one of them also reads values from before the node.
        """
        needed, operations = {self.output}, []
        for operation in reversed(self.nodes):
            if operation.name in needed and operation.name != node:
                operations.append(operation)
                needed.update(source.name for source in operation.all_input_nodes)
        reads = [operation for operation in operations if self.input in {s.name for s in operation.all_input_nodes}]
        if any(isinstance(self.record.values[operation.name], (tuple, list)) for operation in reads):
            raise InvalidRequest(f"Operations after {self.name_of(node)} also read earlier values. Choose another cut.")
        return operations[::-1]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Convolutions, linear layers, norms, activations, pools and sums of two streams, in network order."""
        return self._named[0]

    def layer(self, name: str) -> Layer:
        """Return the layer of that name; a block's name means its output. Raises UnknownLayer with similar names."""
        by_name = {layer.name: layer for layer in self.layers}
        by_node = {layer.node: layer for layer in self.layers}
        match = by_name.get(name) or by_node.get(block_outputs(self.nodes).get(name, ""))
        if match is None:
            near = difflib.get_close_matches(name, by_name, n=4, cutoff=0.3) or list(by_name)[:4]
            raise UnknownLayer(f"This network has no layer {name!r}. Similar names: {', '.join(near)}.")
        return match

    def name_of(self, node: str) -> str:
        """Return a readable name for any operation, or the tensor's name for a weight."""
        return self._named[1].get(node) or self.sources.get(node, node)

    @cached_property
    def signature(self) -> str:
        """sha256 of the operators, their attributes and the tensors' names and shapes; equal for equal structures."""
        lines = [f"{name} {shape}" for name, shape in sorted(self.shapes.items())]
        operations = [f"{operator} {attributes}" for _, operator, attributes in self.operations]
        return hashlib.sha256("\n".join([*lines, *operations]).encode()).hexdigest()

    @cached_property
    def operations(self) -> tuple[tuple[str, str, str], ...]:
        """Each node as (node, operator, attributes as text that depends on structure alone), then the output."""
        names = {node: f"<{name}>" for node, name in self.sources.items()} | {self.input: "<input>"}
        names |= {node: f"<{_digest(constant)}>" for node, constant in self.constants.items()}
        names |= {node.name: f"%{number}" for number, node in enumerate(self.nodes)}
        rows = []
        for node in self.nodes:
            kwargs = {key: value for key, value in sorted(node.kwargs.items()) if key != "device"}
            rows.append((node.name, str(node.target), f"{_spell(node.args, names)} {_spell(kwargs, names)}"))
        return (*rows, (self.output, "output", names[self.output]))

    def _values(self, tensors: Mapping[str, Tensor], x: Tensor, wanted: set[str]) -> dict[str, Any]:
        """Return the values before the first operation: node -> input, weight or constant."""
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
    def _program(self) -> tuple[interpreter.Step, ...]:
        return interpreter.steps(self.nodes, self.output)


class ModuleWithGraph(nn.Module):
    """A module that stores its graph, so that no export is needed."""

    def graph_on(self, example: Tensor) -> Graph:
        """Return the graph, recorded on example (n, ...), n may be 1. Raises UnsupportedOperation if that fails."""
        raise NotImplementedError


@torch.inference_mode(False)  # the caller's inference mode would make tensors that cannot be recorded
def export(model: nn.Module, example: Tensor) -> Graph:
    """Return the graph of `model` in eval mode, for any number of images shaped like example (n, ...); n may be 1.

    The model is not changed. Raises UnsupportedOperation, with a readable cause, where the model cannot be written as
    one graph.
    """
    if isinstance(model, ModuleWithGraph):
        return model.graph_on(example)
    operations, twin, example = exported(model, example)
    tensors = named_tensors(twin)
    check_memory(tensors)
    read = operations.sources.values()
    refuse_copies({name: tensors[name] for name in tensors.keys() - read}, operations.constants.values())
    try:
        return recorded(operations, tensors, example)
    except RuntimeError as error:  # the model's code catches an operation's error, and a graph cannot
        raise UnsupportedOperation(f"The network's graph does not run without the network's code: {error}") from error


def recorded(operations: Operations, tensors: Mapping[str, Tensor], example: Tensor) -> Graph:
    """Return the graph of these operations, recorded on the example (n, ...). tensors: name -> tensor of any shape.

    Raises UnsupportedOperation where the run changes a weight, and any error that the operations raise.
    """
    nodes, x, output = operations.nodes, operations.input, operations.output
    sources, constants = operations.sources, operations.constants
    values: dict[str, Any] = {node: tensors[name] for node, name in sources.items()} | dict(constants)
    steps = interpreter.steps(nodes, output)
    with torch.no_grad():
        record = interpreter.record(steps, values | {x: example.clone()}, example.device)
    if changed := [sources.get(node, node) for node in record.written if node != x]:
        raise UnsupportedOperation(
            f"The forward pass changes {changed[0]} in place, even in eval mode, so the network has no fixed weights."
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    tokens = None if example.is_floating_point() else token_range(nodes, x, record.values, example)
    one, other = ({**values, x: images} for images in two_runs(example, tokens))
    shown = {node.name for node in nodes if is_layer(node) and isinstance(record.values[node.name], tuple)}

    def output_of(image: Tensor) -> Tensor:
        """Return the output of the network, shape (n, ...), for images of shape (n, ...)."""
        return interpreter.run(steps, {**values, x: image}, image.device, {output}, None)[output]

    with torch.no_grad():
        images = image_axes(steps, (one, other), x, record.values, shown)
        order = torch.contiguous_format if reads_strides(nodes) else fastest_order(output_of, two_images(example))
    return Graph(nodes, x, output, sources, shapes, constants, record, tokens, images, order)


def structural_difference(a: Graph, b: Graph) -> str:
    """Return a sentence that names the first structural difference between two graphs, "" if there is none."""
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
            return f"{name} is {operator} in the first network, but {operator_b} ({name_b}) in the second."
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
