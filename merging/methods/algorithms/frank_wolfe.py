"""Matching the units of several networks at once by Frank-Wolfe over soft permutations, rounded at the end.

A soft permutation is a doubly stochastic matrix. All groups move together along one line. This avoids the local optima
of optimising one group at a time, in which no group can gain until another group has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from merging.methods.algorithms.coordinate_descent import assign, axes_overlap
from merging.methods.algorithms.unit_maps import mix
from merging.network.permutation import Permutation, PermutationSpec

LEAST_GAP = 1e-6  # relative to the objective: the search stops when the Frank-Wolfe gap is smaller
Soft = dict[str, Tensor]  # group -> (units, units), doubly stochastic; row i: weights of the old units in new unit i
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class SoftMatch:
    """Result of a Frank-Wolfe search.

    Attributes:
        permutations: one per network, rounded by assignment; the first is the identity.
        objectives: value of the soft objective per step.
    """

    permutations: tuple[Permutation, ...]
    objectives: tuple[float, ...]


def barycentre(spec: PermutationSpec, like: Tensor) -> Soft:
    """Return the mean of all permutations: group -> (units, units), every entry 1/units."""
    return {group.name: like.new_full((group.size, group.size), 1 / group.size) for group in spec.groups}


def hard(permutation: Permutation, like: Tensor) -> Soft:
    """Return a permutation as a soft one: group -> (units, units) of 0 and 1, with the dtype and device of `like`."""
    return {
        name: torch.eye(len(p), dtype=like.dtype, device=like.device)[p.to(like.device)]
        for name, p in permutation.items()
    }


def soften(tensors: Tensors, spec: PermutationSpec, soft: Soft) -> dict[str, Tensor]:
    """Return the tensors, of any shape, with soft[group] (units, units) applied to every axis of the group."""
    mixed = dict(tensors)
    for name, pairs in spec.by_parameter.items():
        for axis, group in pairs:
            mixed[name] = mix(mixed[name], axis, group.size, soft[group.name])
    return mixed


def pairwise_products(nets: Sequence[Tensors]) -> Tensor:
    """Return the sum over all pairs of networks of <A, B>, a scalar. nets: name -> tensor of any shape."""
    products = [(a[name] * b[name]).sum() for a, b in combinations(nets, 2) for name in a]
    return torch.stack(products).sum()


def maximise_frank_wolfe(
    nets: Sequence[Tensors],
    spec: PermutationSpec,
    start: Soft,
    steps: int,
    tell: Callable[[int, float], None],
) -> SoftMatch:
    """Maximise the agreement of nets[0], P_1(nets[1]), P_2(nets[2]) ... over soft P (Crisostomi et al. 2024, Alg. 1).

    The agreement is that of `pairwise_products`. The first network is not permuted, because the paper's universe (the
    common order of units) is determined only up to one permutation. Each step goes towards the permutations with the
    largest inner product with the gradient. An exact line search gives its length, because the agreement is a
    polynomial along a line.
    Memory: per network its tensors, their gradient, and three matrices (units, units) per group.

    Args:
        nets: tensors of each network as from `coordinate_descent.packed`.
        spec: the groups from `coordinate_descent.packed`.
        start: initial soft permutation of each network except the first.
        steps: bound on the number of steps.
        tell: called as tell(step, objective) at every step.
    """
    softs = [{name: p.clone() for name, p in start.items()} for _ in nets[1:]]
    degree = _degree(spec) * (2 if len(nets) > 2 else 1)
    objectives: list[float] = []
    for step in range(steps):
        value, gradients = _gradients(nets, spec, softs)
        objectives.append(value)
        tell(step, value)
        towards = [{name: _vertex(gradient) for name, gradient in one.items()} for one in gradients]
        gap = sum(
            float((gradients[k][name] * (towards[k][name] - soft[name])).sum())
            for k, soft in enumerate(softs)
            for name in soft
        )
        if gap <= LEAST_GAP * abs(value):
            break
        length = _best_length(nets, spec, softs, towards, degree)
        if length == 0:
            break
        softs = [_between(soft, aim, length) for soft, aim in zip(softs, towards, strict=True)]
    rounded = [{name: assign(p) for name, p in soft.items()} for soft in softs]
    return SoftMatch((spec.identity(), *rounded), tuple(objectives))


def _gradients(nets: Sequence[Tensors], spec: PermutationSpec, softs: Sequence[Soft]) -> tuple[float, list[Soft]]:
    leaves = [{name: p.detach().requires_grad_() for name, p in soft.items()} for soft in softs]
    with torch.enable_grad():
        value = pairwise_products(
            [nets[0], *(soften(net, spec, one) for net, one in zip(nets[1:], leaves, strict=True))]
        )
        flat = torch.autograd.grad(value, [p for one in leaves for p in one.values()])
    parts = iter(flat)
    return float(value.detach()), [{name: next(parts) for name in one} for one in leaves]


def _vertex(gradient: Tensor) -> Tensor:
    """Return the permutation matrix of largest inner product with the gradient: the linear oracle."""
    return torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)[assign(gradient).to(gradient.device)]


def _between(soft: Soft, aim: Soft, length: float) -> Soft:
    return {name: torch.lerp(p, aim[name], length) for name, p in soft.items()}


def _best_length(
    nets: Sequence[Tensors], spec: PermutationSpec, softs: Sequence[Soft], towards: Sequence[Soft], degree: int
) -> float:
    """Return the step length in [0, 1] with the largest agreement, computed exactly from degree + 1 evaluations."""
    at = 0.5 - 0.5 * np.cos(np.pi * np.arange(degree + 1) / degree)
    values = []
    for length in at:
        mixed = [
            soften(net, spec, _between(soft, aim, float(length)))
            for net, soft, aim in zip(nets[1:], softs, towards, strict=True)
        ]
        values.append(float(pairwise_products([nets[0], *mixed])))
    polynomial = np.polynomial.Polynomial.fit(at, values, degree, domain=[0, 1])
    roots = np.asarray(polynomial.deriv().roots(), complex)
    turns = [float(root.real) for root in roots if abs(root.imag) < 1e-9 and 0 < root.real < 1]
    heights = [float(height) for height in polynomial(np.array([0.0, 1.0, *turns]))]
    return [0.0, 1.0, *turns][int(np.argmax(heights))]


def _degree(spec: PermutationSpec) -> int:
    """Return the highest degree of a permuted tensor's entries as polynomials in the soft permutations.

    It is a sum over the tensor's dimensions. A dimension adds 1 if its groups re-order separate ranges of it; if one
    group lies inside another, it adds the largest number of groups whose ranges overlap.
    """
    most = 1
    for pairs in spec.by_parameter.values():
        deepest: dict[int, int] = {}
        for axis, group in pairs:
            here = {o.name for at, o in pairs if at.dim == axis.dim and axes_overlap(axis, group.size, at, o.size)}
            deepest[axis.dim] = max(deepest.get(axis.dim, 0), len(here))
        most = max(most, sum(deepest.values()))
    return most
