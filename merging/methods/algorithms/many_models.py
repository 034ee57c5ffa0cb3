"""Matching many nets: each in turn to the mean of the others, until nobody gains (Git Re-Basin, Algorithm 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from merging.methods.algorithms.coordinate_descent import coordinate_descent
from merging.network.permutation import Permutation, PermutationSpec, compose, invert, permute_tensors

SWEEPS = 100  # of one net's descent over its groups


@dataclass(frozen=True)
class Settled:
    """permutations: one a net, into the frame of the first, whose own is the identity.  gains: of each round, in the
    sum of <net, mean of the others>.  settled: whether a round changed nothing, or the bound on rounds was reached."""

    permutations: tuple[Permutation, ...]
    gains: tuple[float, ...]
    settled: bool


def settle(
    nets: Sequence[Mapping[str, Tensor]],
    spec: PermutationSpec,
    start: Sequence[Permutation],
    rng: np.random.Generator,
    rounds: int,
    tell: Callable[[int, float], None],
) -> Settled:
    """Match each net, in random order, to the mean of the others as they lie now, until a round gains nothing.

    nets, spec: name -> tensor and groups as from `matching.packed`.  start: one permutation a net.  tell(round, gain).
    Memory: every net twice, and one mean.
    """
    found = [dict(permutation) for permutation in start]
    moved = [permute_tensors(net, spec, permutation) for net, permutation in zip(nets, found, strict=True)]
    gains: list[float] = []
    while len(gains) < rounds and (not gains or gains[-1] > 0):
        gain = 0.0
        for number in rng.permutation(len(nets)):
            others = [net for index, net in enumerate(moved) if index != number]
            mean = {name: torch.stack([net[name] for net in others]).mean(0) for name in others[0]}
            descent = coordinate_descent(
                mean, moved[number], spec, spec.identity(), rng, SWEEPS, lambda sweep, gain: None
            )
            if descent.gains and sum(descent.gains) > 0:
                gain += sum(descent.gains)
                found[number] = compose(descent.permutation, found[number])
                moved[number] = permute_tensors(nets[number], spec, found[number])
        gains.append(gain)
        tell(len(gains), gain)
    return Settled(rebased(found), tuple(gains), gains[-1] == 0)


def rebased(permutations: Sequence[Permutation]) -> tuple[Permutation, ...]:
    """The same matches in the frame of the first net: its permutation undone in all, group -> (units,) int64."""
    back = invert(dict(permutations[0]))
    return tuple(compose(back, dict(permutation)) for permutation in permutations)


def agreement_of(nets: Sequence[Mapping[str, Tensor]], spec: PermutationSpec, found: Sequence[Permutation]) -> float:
    """The sum over all pairs of nets of <A, B>, each moved by its permutation, in float64; any tensors' shapes."""
    moved = [permute_tensors(net, spec, dict(one)) for net, one in zip(nets, found, strict=True)]
    total = 0.0
    for name in nets[0]:
        whole = torch.stack([net[name].double() for net in moved])
        total += float(whole.sum(0).square().sum() - whole.square().sum()) / 2
    return total
