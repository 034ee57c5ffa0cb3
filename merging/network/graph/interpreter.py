"""Running an exported graph node by node, and recording shapes and memory sharing of all values in one run.

With weights in float64 all floating-point values are float64, whatever precision the graph specifies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

_NARROW = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        node: the graph node.
        call: the operator.
        args, kwargs: its arguments; graph nodes stand for values.
        writes: the value that it changes in place, or "".
        frees: values to free after this operation, because no later operation reads them.
    """

    node: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    writes: str
    frees: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """Properties of all values, recorded in a run on the example.

    Attributes:
        values: node -> shape of its tensor, a list of shapes if it gives several, or the number that it computes.
        hazards: in-place node -> the earlier values that share its memory and are read after it.
        written: the inputs and weights that an in-place operation changed.
    """

    values: dict[str, Any]
    hazards: dict[str, tuple[str, ...]]
    written: tuple[str, ...]


def steps(nodes: Iterable[Node], output: str) -> tuple[Step, ...]:
    """Return a graph's operations as steps; `output` is never freed."""
    nodes = tuple(nodes)
    last = {node.name: node.name for node in nodes}
    last |= {source.name: node.name for node in nodes for source in node.all_input_nodes}
    dying: dict[str, list[str]] = {}
    for name, user in last.items():
        if name != output:
            dying.setdefault(user, []).append(name)
    return tuple(
        Step(n.name, n.target, n.args, dict(n.kwargs), _written(n), tuple(dying.get(n.name, ())))  # type: ignore[arg-type]
        for n in nodes
    )


def run(
    program: Iterable[Step], values: dict[str, Any], device: torch.device, wanted: set[str], until: str | None
) -> dict[str, Tensor]:
    """Run a program and return the wanted values. A wanted value is copied before an operation changes its memory.

    Args:
        program: the operations.
        values: node -> value, changed in place.
        device: where operations create new tensors.
        wanted: the nodes whose values are returned.
        until: a node of `wanted` after which to stop, or None to run all.
    """
    kept, wide = {name: values[name] for name in wanted if name in values}, _widened(values)
    for step in program:
        if until in kept:
            break
        if step.writes and kept:
            _rescue(kept, values[step.writes])
        value = values[step.node] = _call(step, values, device, wide)
        if step.node in wanted:
            kept[step.node] = value
        for name in step.frees:
            values.pop(name, None)
    return kept


def walk(
    program: Iterable[Step], values: dict[str, Any], device: torch.device, wanted: set[str]
) -> Iterator[tuple[str, Any]]:
    """Run a program on `values` and yield each wanted node with its value before a later operation overwrites it."""
    left, wide = set(wanted), _widened(values)
    for step in program:
        if not left:
            return
        value = values[step.node] = _call(step, values, device, wide)
        if step.node in left:
            left.remove(step.node)
            yield step.node, value
        for name in step.frees:
            values.pop(name, None)


def record(program: Iterable[Step], values: dict[str, Any], device: torch.device) -> Record:
    """Run a program once and record the shapes of all values and which values share memory."""
    program, wide = tuple(program), _widened(values)
    before = {name: value._version for name, value in values.items() if isinstance(value, Tensor)}
    last = {name: number for number, step in enumerate(program) for name in step.frees}
    hazards: dict[str, tuple[str, ...]] = {}
    shapes = {name: shape_of(value) for name, value in values.items()}
    for number, step in enumerate(program):
        if step.writes:
            target = values[step.writes]
            live = [name for name in values if last.get(name, len(program)) > number]
            hazards[step.node] = tuple(name for name in live if _shares(values[name], target))
        value = values[step.node] = _call(step, values, device, wide)
        shapes[step.node] = shape_of(value)
        for name in step.frees:
            if name not in before:
                values.pop(name, None)
    written = tuple(name for name, version in before.items() if values[name]._version != version)
    return Record(shapes, {node: names for node, names in hazards.items() if names}, written)


def shape_of(value: Any) -> Any:
    """Return the shape of a tensor, a list of shapes for several tensors, and any other value unchanged."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return [shape_of(item) for item in value] if isinstance(value, (list, tuple)) else value


def _call(step: Step, values: Mapping[str, Any], device: torch.device, wide: bool) -> Any:
    # The device and precision of the export are fixed in the graph, but a run may use others.
    kwargs = {key: device if key == "device" else _fill(arg, values, wide) for key, arg in step.kwargs.items()}
    value = step.call(*[_fill(arg, values, wide) for arg in step.args], **kwargs)
    return value.double() if wide and isinstance(value, Tensor) and value.dtype in _NARROW else value


def _fill(arg: Any, values: Mapping[str, Any], wide: bool) -> Any:
    if isinstance(arg, Node):
        return values[arg.name]
    if isinstance(arg, (list, tuple)):
        return [_fill(item, values, wide) for item in arg]
    return torch.float64 if wide and isinstance(arg, torch.dtype) and arg in _NARROW else arg


def _widened(values: dict[str, Any]) -> bool:
    """Convert all floating-point values to float64 if most weights and inputs already are float64.

    Returns whether most are. `values` is changed in place.
    """
    types = {name: value.dtype for name, value in values.items() if isinstance(value, Tensor)}
    narrow = [name for name, dtype in types.items() if dtype in _NARROW]
    wide = sum(dtype == torch.float64 for dtype in types.values()) > len(narrow)
    if wide:
        values.update({name: values[name].double() for name in narrow})
    return wide


def _written(node: Node) -> str:
    schema = getattr(node.target, "_schema", None)
    for number, declared in enumerate(schema.arguments if schema is not None else ()):
        source = node.args[number] if number < len(node.args) else node.kwargs.get(declared.name)
        if isinstance(source, Node) and declared.alias_info is not None and declared.alias_info.is_write:
            return source.name
    return ""


def _rescue(kept: dict[str, Tensor], target: Tensor) -> None:
    for name, value in kept.items():
        if _shares(value, target):
            kept[name] = value.clone()


def _shares(value: Any, target: Tensor) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_shares(item, target) for item in value)
    return isinstance(value, Tensor) and value.untyped_storage().data_ptr() == target.untyped_storage().data_ptr()
