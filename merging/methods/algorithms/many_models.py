"""Matching many networks: match each in turn to the mean of the others, until none gains (Git Re-Basin, Alg. 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from merging.methods.algorithms.coordinate_descent import coordinate_descent
from merging.network.permutation import Permutation, PermutationSpec, compose, invert, permute_tensors

SWEEPS = 100  # bound on the sweeps of one network's coordinate descent


@dataclass(frozen=True)
class Settled:
    """Result of matching many networks.

    Attributes:
        permutations: one per network, into the first network's order of units; the first is the identity.
        gains: per round, the gain in the sum of <network, mean of the others>.
        settled: True if the last round changed nothing, False if the bound on rounds was reached.
    """

    permutations: tuple[Permutation, ...]
    gains: tuple[float, ...]
    settled: bool


def match_in_turns(
    nets: Sequence[Mapping[str, Tensor]],
    spec: PermutationSpec,
    start: Sequence[Permutation],
    rng: np.random.Generator,
    rounds: int,
    tell: Callable[[int, float], None],
) -> Settled:
    """Match each network, in random order, to the current mean of the others, until a round gains nothing.

    Memory: every network twice, and one mean.

    Args:
        nets: tensors of each network as from `coordinate_descent.packed`, name -> tensor.
        spec: the groups from `coordinate_descent.packed`.
        start: initial permutations, one per network.
        rng: draws the orders of visits.
        rounds: bound on the number of rounds.
        tell: called as tell(round, gain) after each round.
    """
    permutations = [dict(permutation) for permutation in start]
    permuted = [permute_tensors(net, spec, permutation) for net, permutation in zip(nets, permutations, strict=True)]
    gains: list[float] = []
    while len(gains) < rounds and (not gains or gains[-1] > 0):
        gain = 0.0
        for number in rng.permutation(len(nets)):
            others = [net for index, net in enumerate(permuted) if index != number]
            mean = {name: torch.stack([net[name] for net in others]).mean(0) for name in others[0]}
            descent = coordinate_descent(
                mean, permuted[number], spec, spec.identity(), rng, SWEEPS, lambda sweep, gain: None
            )
            if descent.gains and sum(descent.gains) > 0:
                gain += sum(descent.gains)
                permutations[number] = compose(descent.permutation, permutations[number])
                permuted[number] = permute_tensors(nets[number], spec, permutations[number])
        gains.append(gain)
        tell(len(gains), gain)
    return Settled(rebased(permutations), tuple(gains), gains[-1] == 0)


def rebased(permutations: Sequence[Permutation]) -> tuple[Permutation, ...]:
    """Return the same matches relative to the first network: each composed with the inverse of its permutation."""
    back = invert(dict(permutations[0]))
    return tuple(compose(back, dict(permutation)) for permutation in permutations)


def agreement_of(nets: Sequence[Mapping[str, Tensor]], spec: PermutationSpec, found: Sequence[Permutation]) -> float:
    """Return the sum over all pairs of networks of <A, B>, each permuted by its permutation in `found`, in float64.

    nets: name -> tensor of any shape.
    """
    permuted = [permute_tensors(net, spec, dict(one)) for net, one in zip(nets, found, strict=True)]
    total = 0.0
    for name in nets[0]:
        whole = torch.stack([net[name].double() for net in permuted])
        total += float(whole.sum(0).square().sum() - whole.square().sum()) / 2
    return total
