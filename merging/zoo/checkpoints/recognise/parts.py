"""The layers of a state dict: its tensors grouped by the module that holds them, with the kind of each module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Shapes = Mapping[str, tuple[int, ...]]
Kind = Literal["conv", "linear", "norm", "other"]


@dataclass(frozen=True)
class NetworkPart:
    """One module with tensors of its own.

    Attributes:
        prefix: the module's name with a dot at the end, "" for the top module.
        tensors: last part of the tensor's name -> shape.
    """

    prefix: str
    kind: Kind
    tensors: dict[str, tuple[int, ...]]

    @property
    def weight(self) -> tuple[int, ...]:
        """Shape of the weight: (out, in) linear, (out, in, height, width) conv, (units,) norm, () without a weight."""
        return self.tensors.get("weight", ())


@dataclass(frozen=True)
class Guess:
    """A candidate that is not yet proved. names: Mergescope's tensor names -> the file's."""

    architecture: str
    config: dict[str, object]
    names: dict[str, str]


def network_parts(shapes: Shapes) -> list[NetworkPart]:
    """The modules with tensors, in the order of their first tensors in the file."""
    modules: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        prefix, _, last = name.rpartition(".")
        modules.setdefault(f"{prefix}." if prefix else "", {})[last] = shape
    return [NetworkPart(prefix, _kind(tensors), tensors) for prefix, tensors in modules.items()]


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key that compares numbers by value: fc2 before fc10, numbers before words."""
    pieces = re.split(r"(\d+)", text)
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces if piece]


def renamed(pairs: list[tuple[str, NetworkPart]]) -> dict[str, str]:
    """Mergescope's tensor names -> the file's, for pairs of (Mergescope's prefix with its dot, the file's module)."""
    return {f"{ours}{last}": f"{part.prefix}{last}" for ours, part in pairs for last in part.tensors}


def image_shape(features: int) -> list[int]:
    """Guess [channels, height, width] of a flattened image: square and grey if possible, else square with 3 channels,
    else a single row."""
    for channels in (1, 3):
        side = round((features / channels) ** 0.5)
        if channels * side * side == features:
            return [channels, side, side]
    return [1, 1, features]


def _kind(tensors: Mapping[str, tuple[int, ...]]) -> Kind:
    dimensions = len(tensors.get("weight", ()))
    return {4: "conv", 2: "linear", 1: "norm"}.get(dimensions, "other")  # type: ignore[return-value]
