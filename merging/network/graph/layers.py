"""Layers of an exported graph: the nodes that users can name and whose activations they can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch.fx import Node

from merging.network.graph.image_axes import ImageAxis

Kind = Literal["conv", "linear", "recurrent", "embedding", "norm", "activation", "pool", "add", "other"]
MAKES_UNITS = ("conv", "linear", "recurrent", "embedding")  # kinds of layers whose weights produce new units

_KINDS: dict[Kind, str] = {
    "conv": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    "linear": "linear addmm bilinear",
    "recurrent": "rnn_tanh rnn_relu gru lstm rnn_tanh_cell rnn_relu_cell gru_cell lstm_cell",
    "embedding": "embedding embedding_bag",
    "norm": "batch_norm layer_norm group_norm instance_norm rms_norm",
    "activation": "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish softplus softsign hardtanh hardswish"
    " hardsigmoid hardshrink softshrink tanhshrink threshold tanh sigmoid log_sigmoid clamp clamp_min glu",
    "pool": "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d"
    " adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d mean amax",
    "add": "add",
}
_KIND_OF: dict[str, Kind] = {op: kind for kind, ops in _KINDS.items() for op in ops.split()}


@dataclass(frozen=True)
class Layer:
    """A named value of the network.

    Attributes:
        name: as in torch (`features.4`). A second use of a module is `act (2nd use)`. An operation inside a block
            is `layer1.0:add`, unless it is the block's output, which has the block's name.
        node: the graph node.
        kind: the kind of operation.
        dim: the dimension of the value that holds the units.
        units: number of units.
        positions: sizes other than the numbers of units and images on the example, such as height, width, tokens or
            windows.
            Factors that share a dimension with the images come first.
        images: the axis of the value that holds the images, None if there is none.
    """

    name: str
    node: str
    kind: Kind
    dim: int
    units: int
    positions: tuple[int, ...]
    images: ImageAxis | None


def operator_name(node: Node) -> str:
    """Return the ATen operator's base name without the in-place underscore: `relu` for aten.relu_.default."""
    packet = getattr(node.target, "_overloadpacket", None)
    name: str = packet.__name__ if packet is not None else getattr(node.target, "__name__", str(node.target))
    return name.rstrip("_") if not name.startswith("_") else name


def module_calls(node: Node) -> dict[str, str]:
    """Return the module calls around a node, outermost first: call key -> module path ("" for the network itself)."""
    return {key: path for key, (path, _) in node.meta.get("nn_module_stack", {}).items()}


def module_path(node: Node) -> str:
    """Return the path of the innermost torch module that ran the node, "" for the network itself."""
    return next(reversed(module_calls(node).values()), "")


def name_nodes(nodes: Sequence[Node], shown: set[str]) -> dict[str, str]:
    """Return node name -> a distinct readable name.

    Args:
        nodes: the operations in network order.
        shown: the names of the nodes that become layers.
    """
    outputs = _call_outputs(nodes)
    parents = {key for node in nodes for key in list(module_calls(node))[:-1]}
    alone = Counter(_innermost(node) for node in nodes if node.name in shown)
    seen: Counter[str] = Counter()
    names = {}
    for node in sorted(nodes, key=lambda node: node.name not in shown):  # layers first: they get the plain names
        call, path = _innermost(node), module_path(node)
        single = call not in parents and node.name in shown and alone[call] == 1
        plain = path and (single or outputs.get(call) == node.name)
        name = path if plain else f"{path or 'forward'}:{operator_name(node)}"
        seen[name] += 1
        names[node.name] = name if seen[name] == 1 else f"{name} ({_ordinal(seen[name])} use)"
    return names


def block_outputs(nodes: Sequence[Node]) -> dict[str, str]:
    """Return module path -> the node of its output on its first use, for modules with one output."""
    outputs: dict[str, str] = {}
    paths = {key: path for node in nodes for key, path in module_calls(node).items()}
    for call, name in _call_outputs(nodes).items():
        outputs.setdefault(paths[call], name)
    return outputs


def find_layers(
    nodes: Sequence[Node],
    shapes: Mapping[str, tuple[int, ...]],
    active: set[str],
    images: Mapping[str, ImageAxis],
) -> tuple[tuple[Layer, ...], dict[str, str]]:
    """Return the layers in network order, and the readable name of every operation.

    Args:
        nodes: the operations in network order.
        shapes: node -> shape of its value, for values that are one tensor.
        active: the nodes that depend on the input.
        images: node -> the axis of its value that holds the images.
    """
    dims = _unit_dims(nodes, shapes, images)
    kinds = {node.name: _kind(node, active) for node in nodes if node.name in dims and node.name in active}
    shown = {name for name, kind in kinds.items() if kind != "other"}
    names = name_nodes(nodes, shown)
    layers = []
    for node in nodes:
        if node.name in shown:
            dim, shape, axis = dims[node.name], shapes[node.name], images.get(node.name)
            axis = None if axis is not None and axis.dim == dim else axis  # units and images share a dimension
            beside = [] if axis is None else [size for size in (axis.outer, axis.inner) if size > 1]
            excluded = (0 if axis is None else axis.dim, dim)
            positions = (*beside, *(size for d, size in enumerate(shape) if d not in excluded))
            layers.append(Layer(names[node.name], node.name, kinds[node.name], dim, shape[dim], positions, axis))
    return tuple(layers), names


def is_layer(node: Node) -> bool:
    """Return whether the operator can be a layer; whether the node is one also depends on its inputs."""
    return operator_kind(node) != "other"


def operator_kind(node: Node) -> Kind:
    """Return the kind of layer that an operator computes.

    For operators with several results, the first result (a getitem node) is the layer.
    """
    if operator_name(node) == "getitem" and node.args[1] == 0 and isinstance(node.args[0], Node):
        kind = operator_kind(node.args[0])
        return kind if kind in ("recurrent", "embedding") else "other"
    return _KIND_OF.get(operator_name(node), "other")


def _kind(node: Node, active: set[str]) -> Kind:
    kind = operator_kind(node)
    streams = [arg for arg in node.all_input_nodes if arg.name in active]
    return "other" if kind == "add" and len(streams) < 2 else kind


def _innermost(node: Node) -> str:
    return next(reversed(module_calls(node)), "")


def _call_outputs(nodes: Sequence[Node]) -> dict[str, str]:
    """Return module call -> its output node, for calls with exactly one value that is used outside."""
    outputs: dict[str, set[str]] = {}
    for node in nodes:
        users = [set(module_calls(user)) for user in node.users]
        for call in module_calls(node):
            if any(call not in calls for calls in users):
                outputs.setdefault(call, set()).add(node.name)
    return {call: next(iter(names)) for call, names in outputs.items() if len(names) == 1}


def _unit_dims(
    nodes: Sequence[Node], shapes: Mapping[str, tuple[int, ...]], images: Mapping[str, ImageAxis]
) -> dict[str, int]:
    dims: dict[str, int] = {}
    for node in nodes:
        shape = shapes.get(node.name, ())
        if len(shape) < 2:
            continue
        kind, source = operator_kind(node), next(iter(node.all_input_nodes), None)
        inherited = dims.get(source.name) if source is not None else None
        if kind == "conv" or operator_name(node) in ("batch_norm", "group_norm", "instance_norm"):
            dims[node.name] = 1
        elif kind in ("linear", "recurrent", "embedding") or operator_name(node) == "layer_norm":
            dims[node.name] = len(shape) - 1
        elif inherited is not None and source is not None and len(shapes.get(source.name, ())) == len(shape):
            dims[node.name] = _moved(node, inherited, len(shape))
        elif inherited is not None and _flattened_behind(node, inherited):
            dims[node.name] = inherited  # only positions after the units are flattened
        else:  # tokens are (batch, position, unit), images (batch, unit, ...)
            usual, axis = (2 if len(shape) == 3 else 1), images.get(node.name)
            dims[node.name] = next(dim for dim in (usual, 1, 0) if axis is None or dim != axis.dim)
    return dims


def _flattened_behind(node: Node, dim: int) -> bool:
    return operator_name(node) == "flatten" and len(node.args) > 1 and int(node.args[1]) > dim  # type: ignore[arg-type]


def _moved(node: Node, dim: int, rank: int) -> int:
    if operator_name(node) == "permute":
        return [d % rank for d in node.args[1]].index(dim)  # type: ignore[union-attr, operator]
    if operator_name(node) == "transpose":
        a, b = (int(d) % rank for d in node.args[1:3])  # type: ignore[arg-type]
        return {a: b, b: a}.get(dim, dim)
    return dim


def _ordinal(number: int) -> str:
    tail = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{tail}"
