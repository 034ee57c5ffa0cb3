"""Integer inputs: the range of tokens that a network accepts, and random tokens from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from merging.network.graph.layers import operator_name

# Operators that move integers without changing their values.
_MOVES = {
    *("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "repeat"),
    *("permute", "transpose", "t", "slice", "select", "narrow", "unbind", "split", "split_with_sizes", "chunk"),
    *("getitem", "cat", "stack", "clone", "contiguous", "alias", "detach", "to", "_to_copy", "roll", "flip"),
}


def token_range(nodes: Iterable[Node], source: str, shapes: Mapping[str, Any], example: Tensor) -> tuple[int, int]:
    """Return (lowest, highest + 1) of the tokens that a network is certain to accept.

    The range is from 0 to the size of the smallest table that tokens index (embeddings, one-hot codes, indexing). If
    tokens index a table only after arithmetic, or never, the range is that of the example.

    Args:
        nodes: the operations in network order.
        source: the input's node.
        shapes: node -> shape, as in a `Record`.
        example: (n, ...) integers that the network runs on.
    """
    moved, computed = {source}, set[str]()
    sizes: list[int] = []
    for node in nodes:
        sources = {one.name for one in node.all_input_nodes}
        table = _table(node, shapes)
        if table is not None and table[0] & computed:
            sizes.clear()
            break
        if table is not None and table[0] & moved:
            sizes.append(table[1])
        elif sources & (moved | computed) and isinstance(shapes[node.name], (tuple, list)):
            (moved if operator_name(node) in _MOVES and not sources & computed else computed).add(node.name)
    return (0, min(sizes)) if sizes else (int(example.min()), int(example.max()) + 1)


def random_tokens(shape: tuple[int, ...], span: tuple[int, int], like: Tensor, seed: int) -> Tensor:
    """Return tokens (n, ...) drawn uniformly from `span` (lowest, highest + 1), with the type and device of `like`."""
    tokens = np.random.default_rng(seed).integers(*span, size=shape)
    return torch.from_numpy(tokens).to(like)


def _table(node: Node, shapes: Mapping[str, Any]) -> tuple[set[str], int] | None:
    """Return the nodes of a look-up's indices and the size of its table; None for other operations."""
    args: Any = node.args
    match operator_name(node):
        case "embedding" | "embedding_bag" | "_embedding_bag":
            return _names(args[1]), shapes[args[0].name][0]
        case "one_hot":
            return _names(args[0]), int(args[1])
        case "index_select":
            return _names(args[2]), shapes[args[0].name][args[1]]
        case "index":
            places = [place for place, one in enumerate(args[1]) if one is not None]
            return _names(args[1]), min(shapes[args[0].name][place] for place in places)
    return None


def _names(arg: Any) -> set[str]:
    return {one.name for one in (arg if isinstance(arg, (list, tuple)) else [arg]) if isinstance(one, Node)}
