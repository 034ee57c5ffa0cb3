"""Which layers cost what: the barrier of an average shared out over blocks of layers by Shapley values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
from torch import Tensor, nn

from merging.analysis.path.evaluation import evaluate
from merging.network.data import Batches
from merging.network.permutation import named_tensors, with_tensors
from merging.progress import Progress, no_progress

MOST = 12  # blocks: more are joined with their neighbours


@dataclass(frozen=True)
class Shares:
    """blocks: names, network order.  share, error: (B,) nats, the mean and its standard error over the sampled orders
    (0 where all orders were counted).  total: what they sum to, the loss of the average above its parents' mean."""

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
    """Shapley shares of the loss of `average` above the mean of its parents' (Shapley 1953), over blocks of layers.

    A block's worth in a coalition S: how much the loss rises when its tensors, too, are the average's, in the mean over
    starting from a and from b. `orders` random orders and their reverses; all of them where there are no more than
    twice as many. Shares sum to the total for every order, so they do so exactly.  a, b: aligned, never changed.
    average: tensors of their shapes and names.
    """
    starts = [named_tensors(net) for net in (a, b)]
    blocks = blocks_of({name: one for name, one in starts[0].items() if not one.equal(starts[1][name])})
    scratch, known = with_tensors(a, {}), dict[frozenset[int], float]()
    drawn = _orders(len(blocks), orders, seed)
    steps = len({frozenset(order[:size]) for order in drawn for size in range(len(blocks) + 1)})

    def worth(coalition: frozenset[int]) -> float:
        """How much the loss rises when these blocks are the average's, in the mean over both parents; kept."""
        if coalition not in known:
            merged = {name for number in coalition for name in blocks[number][1]}
            losses = []
            for start in starts:
                for name, tensor in named_tensors(scratch).items():
                    tensor.copy_(average[name] if name in merged else start[name])
                losses.append(evaluate(scratch, data).loss)
            known[coalition] = sum(losses) / 2
            (report or no_progress)(
                "attribution", len(known) / steps, f"{len(known)} of at most {steps} mixtures of layers"
            )
        return known[coalition]

    found = np.array([_gains(order, worth) for order in drawn])
    whole = len(drawn) == factorial(len(blocks))
    pairs = found if whole else (found[::2] + found[1::2]) / 2  # an order and its reverse are not independent
    error = np.zeros(len(blocks)) if whole else pairs.std(0, ddof=1) / len(pairs) ** 0.5
    total = worth(frozenset(range(len(blocks)))) - worth(frozenset())
    return Shares(tuple(name for name, _ in blocks), found.mean(0), error, total, len(drawn))


def blocks_of(tensors: Mapping[str, Tensor]) -> list[tuple[str, tuple[str, ...]]]:
    """(name, names of tensors) of the blocks that a network's tensors (of any shape) are shared out over, in order.

    A module with weights begins a block; a normalisation or a learned activation belongs to the one before it.
    More than 12 are joined with their neighbours.
    """
    found: list[tuple[str, list[str]]] = []
    modules: dict[str, list[str]] = {}
    for name in tensors:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    for module, names in modules.items():
        if not found or any(tensors[name].ndim > 1 for name in names):
            found.append((module, []))
        found[-1][1].extend(names)
    joined = [part for part in np.array_split(np.arange(len(found)), max(1, min(MOST, len(found)))) if len(part)]
    return [(_joined([found[at][0] for at in part]), tuple(n for at in part for n in found[at][1])) for part in joined]


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"


def _gains(order: Sequence[int], worth: Callable[[frozenset[int]], float]) -> np.ndarray:
    gains = np.empty(len(order))
    for place, block in enumerate(order):
        gains[block] = worth(frozenset(order[: place + 1])) - worth(frozenset(order[:place]))
    return gains


def _orders(blocks: int, count: int, seed: int) -> list[tuple[int, ...]]:
    if factorial(blocks) <= 2 * count:
        return list(permutations(range(blocks)))
    rng = np.random.default_rng(seed)
    drawn = [tuple(rng.permutation(blocks).tolist()) for _ in range(count)]
    return [order for one in drawn for order in (one, one[::-1])]
