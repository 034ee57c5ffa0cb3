"""Attribution of the barrier of an average to blocks of layers by Shapley values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
from torch import Tensor, nn

from merging.analysis.path.evaluation import evaluate
from merging.naming import block_name
from merging.network.data import Batches
from merging.network.permutation import named_tensors, with_tensors
from merging.progress import Progress, no_progress

MOST = 12  # blocks: if there are more, neighbouring blocks are joined


@dataclass(frozen=True)
class Shares:
    """Shapley shares of B blocks of layers.

    Attributes:
        blocks: names, in network order.
        share: (B,) nats, mean over the sampled orders.
        error: (B,) nats, standard error of that mean; 0 where all orders were counted.
        total: sum of the shares, equal to the loss of the average minus the mean of its parents' losses.
        orders: number of orders.
    """

    blocks: tuple[str, ...]
    share: np.ndarray
    error: np.ndarray
    total: float
    orders: int


def attribute(
    a: nn.Module,
    b: nn.Module,
    average: Mapping[str, Tensor],
    data: Batches,
    *,
    orders: int = 16,
    seed: int = 0,
    report: Progress | None = None,
) -> Shares:
    """Attribute the loss of `average`, minus the mean of its parents' losses, to blocks of layers (Shapley 1953).

    Blocks of a parent are replaced by those of the average in some order. A block's gain is the rise in loss at its
    replacement, averaged over starting from a and from b; its share is the mean gain over orders. Uses `orders` random
    orders and their reverses, or all orders if they are at most twice as many. The gains in each order sum to the
    total, so the shares do so exactly.

    a, b: the aligned parents, never changed. average: tensors with the parents' names and shapes.
    """
    starts = [named_tensors(net) for net in (a, b)]
    blocks = blocks_of({name: one for name, one in starts[0].items() if not one.equal(starts[1][name])})
    scratch, worths = with_tensors(a, {}), dict[frozenset[int], float]()
    sequences = _orders(len(blocks), orders, seed)
    steps = len({frozenset(order[:size]) for order in sequences for size in range(len(blocks) + 1)})

    def worth(coalition: frozenset[int]) -> float:
        """Loss with these blocks from the average and the rest from a parent, mean over both parents; cached."""
        if coalition not in worths:
            merged = {name for number in coalition for name in blocks[number][1]}
            losses = []
            for start in starts:
                for name, tensor in named_tensors(scratch).items():
                    tensor.copy_(average[name] if name in merged else start[name])
                losses.append(evaluate(scratch, data).loss)
            worths[coalition] = sum(losses) / 2
            (report or no_progress)(
                "attribution", len(worths) / steps, f"{len(worths)} of at most {steps} mixtures of layers"
            )
        return worths[coalition]

    gains = np.array([_gains(order, worth) for order in sequences])
    whole = len(sequences) == factorial(len(blocks))
    pairs = gains if whole else (gains[::2] + gains[1::2]) / 2  # an order and its reverse are not independent
    error = np.zeros(len(blocks)) if whole else pairs.std(0, ddof=1) / len(pairs) ** 0.5
    total = worth(frozenset(range(len(blocks)))) - worth(frozenset())
    return Shares(tuple(name for name, _ in blocks), gains.mean(0), error, total, len(sequences))


def blocks_of(tensors: Mapping[str, Tensor]) -> list[tuple[str, tuple[str, ...]]]:
    """Divide a network's tensors (of any shape) into blocks, in order: one (name, names of the tensors) per block.

    A module with weights begins a block; a normalisation or a learned activation belongs to the block before it. Where
    there are more than 12 blocks, neighbouring blocks are joined.
    """
    blocks: list[tuple[str, list[str]]] = []
    modules: dict[str, list[str]] = {}
    for name in tensors:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    for module, names in modules.items():
        if not blocks or any(tensors[name].ndim > 1 for name in names):
            blocks.append((module, []))
        blocks[-1][1].extend(names)
    runs = [part for part in np.array_split(np.arange(len(blocks)), max(1, min(MOST, len(blocks)))) if len(part)]
    joined = [[blocks[at] for at in part] for part in runs]
    return [(block_name([name for name, _ in part]), tuple(n for _, own in part for n in own)) for part in joined]


def _gains(order: Sequence[int], worth: Callable[[frozenset[int]], float]) -> np.ndarray:
    gains = np.empty(len(order))
    for place, block in enumerate(order):
        gains[block] = worth(frozenset(order[: place + 1])) - worth(frozenset(order[:place]))
    return gains


def _orders(blocks: int, count: int, seed: int) -> list[tuple[int, ...]]:
    if factorial(blocks) <= 2 * count:
        return list(permutations(range(blocks)))
    rng = np.random.default_rng(seed)
    random_orders = [tuple(rng.permutation(blocks).tolist()) for _ in range(count)]
    return [order for one in random_orders for order in (one, one[::-1])]
