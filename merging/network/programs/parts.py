"""Operations of a program that become torch modules: convolutions, linear layers and norms with their own tensors.

Correction methods need modules to set hooks on and to re-estimate BatchNorm statistics. An operation becomes a module
if its tensors are all the tensors under one module path, and every use of that path has the same settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import nn

from merging.network.programs.graph import trial
from merging.network.programs.operators import Argument, Term, named
from merging.network.programs.program import Program, ProgramNode


@dataclass(frozen=True)
class Part:
    """A torch module in a program.

    Attributes:
        kind: its class.
        settings: its constructor's keyword arguments.
        tensors: the tensor names under the module's path, without the path.
    """

    kind: Any
    settings: tuple[tuple[str, Any], ...]
    tensors: frozenset[str]

    def build(self) -> nn.Module:
        """Return a new module of this kind in eval mode, on the meta device."""
        module: nn.Module = self.kind(**dict(self.settings), device="meta")
        return module.eval()


@lru_cache(maxsize=64)
def parts_of(program: Program) -> tuple[Mapping[str, Part], Mapping[str, str]]:
    """Return two mappings: module path -> part, and node -> the path of its part."""
    names = _names(program)
    candidates: dict[str, dict[str, Part]] = {}
    for node in program.nodes:
        candidate = _part(program, node, names)
        if candidate is not None:
            candidates.setdefault(candidate[0], {})[node.name] = candidate[1]
    below: dict[str, set[str]] = {}
    for tensor in program.state:
        pieces = tensor.name.split(".")
        for depth in range(len(pieces)):
            below.setdefault(".".join(pieces[:depth]), set()).add(".".join(pieces[depth:]))
    parts: dict[str, Part] = {}
    nodes: dict[str, str] = {}
    for path, uses in candidates.items():
        part = next(iter(uses.values()))
        if len(set(uses.values())) == 1 and below[path] == part.tensors:
            parts[path] = part
            nodes |= dict.fromkeys(uses, path)
    return parts, nodes


def _names(program: Program) -> dict[str, list[tuple[str, str]]]:
    """Return, for each value that is a tensor of the state dict, all (name, kind) pairs of that tensor."""
    every: dict[str, list[tuple[str, str]]] = {}
    for tensor in program.state:
        every.setdefault(tensor.same_as or tensor.name, []).append((tensor.name, tensor.kind))
    return {placeholder: every.get(name, []) for placeholder, name in program.reads}


def _part(program: Program, node: ProgramNode, names: Mapping[str, list[tuple[str, str]]]) -> tuple[str, Part] | None:
    """Return the path and the part that an operation's arguments describe, or None if it is not a module."""
    settings_of = _MAKERS.get(node.target.split(".")[1]) if node.target.startswith("aten.") else None
    if settings_of is None:
        return None
    arguments = named(node.target, node.args, dict(node.kwargs))
    tensors = {key: arguments[key].text for key in _OWNED if isinstance(arguments.get(key), Term)}
    source = arguments["input"].text
    if source in names or not tensors:  # the operation reads no activations, or has no weights
        return None
    inner = program.calls[node.calls[-1]] if node.calls else ""
    owners = [name.removesuffix(f".{key}") for key, value in tensors.items() for name, _ in names.get(value, [])]
    for path in dict.fromkeys([inner, *owners]):
        if path and all((f"{path}.{key}", _OWNED[key]) in names.get(value, []) for key, value in tensors.items()):
            shapes = trial(program).shapes
            spec = settings_of(arguments, {key: shapes[value] for key, value in tensors.items()}, len(shapes[source]))
            counter = {"num_batches_tracked"} if "running_mean" in tensors else set()
            return (
                (path, Part(spec[0], tuple(sorted(spec[1].items())), frozenset({*tensors, *counter}))) if spec else None
            )
    return None


Settings = tuple[Any, dict[str, Any]] | None  # a torch module's class and its constructor's arguments


def _convolution(given: Mapping[str, Argument], shapes: Mapping[str, tuple[int, ...]], rank: int) -> Settings:
    weight = shapes["weight"]
    options = {key: given[key] for key in ("stride", "padding", "dilation", "groups") if key in given}
    if rank != len(weight) or not all(map(_is_fixed, options.values())):
        return None
    sizes = {"in_channels": weight[1] * options.get("groups", 1), "out_channels": weight[0], "kernel_size": weight[2:]}
    return _CONVOLUTIONS[rank], {**options, **sizes, "bias": "bias" in shapes}


def _linear(given: Mapping[str, Argument], shapes: Mapping[str, tuple[int, ...]], rank: int) -> Settings:
    if len(shapes["weight"]) != 2:
        return None
    out, into = shapes["weight"]
    return nn.Linear, {"in_features": into, "out_features": out, "bias": "bias" in shapes}


def _batch_norm(given: Mapping[str, Argument], shapes: Mapping[str, tuple[int, ...]], rank: int) -> Settings:
    whole = ("weight" in shapes) == ("bias" in shapes) and ("running_mean" in shapes) == ("running_var" in shapes)
    if rank not in _BATCH_NORMS or not whole or not all(_is_fixed(given[key]) for key in ("momentum", "eps")):
        return None
    channels = next(iter(shapes.values()))[0]
    options = {"momentum": given["momentum"], "eps": given["eps"], "affine": "weight" in shapes}
    return _BATCH_NORMS[rank], {**options, "num_features": channels, "track_running_stats": "running_mean" in shapes}


def _layer_norm(given: Mapping[str, Argument], shapes: Mapping[str, tuple[int, ...]], rank: int) -> Settings:
    shape, eps = given["normalized_shape"], given.get("eps", 1e-5)
    if "weight" not in shapes or not _is_fixed(shape) or not _is_fixed(eps):
        return None
    return nn.LayerNorm, {"normalized_shape": shape, "eps": eps, "bias": "bias" in shapes}


def _group_norm(given: Mapping[str, Argument], shapes: Mapping[str, tuple[int, ...]], rank: int) -> Settings:
    groups, eps = given["num_groups"], given.get("eps", 1e-5)
    if not {"weight", "bias"} <= shapes.keys() or not _is_fixed(groups) or not _is_fixed(eps):
        return None
    return nn.GroupNorm, {"num_groups": groups, "num_channels": shapes["weight"][0], "eps": eps}


def _is_fixed(argument: Argument) -> bool:
    """Return whether an argument is a number, a string or a tuple of them, and not computed by the program."""
    return all(map(_is_fixed, argument)) if isinstance(argument, tuple) else isinstance(argument, (int, float, str))


_OWNED = {"weight": "parameter", "bias": "parameter", "running_mean": "buffer", "running_var": "buffer"}
_CONVOLUTIONS: dict[int, Any] = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
_BATCH_NORMS: dict[int, Any] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_MAKERS: dict[str, Callable[..., Settings]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    "linear": _linear,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
}
