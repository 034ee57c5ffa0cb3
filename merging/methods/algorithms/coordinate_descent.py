"""Matching units by their weights: similarity of two nets' units, assignment, coordinate descent over the groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from merging.methods.problem import Problem
from merging.network.lazy_tensors import HeldTensors, MovedTensors
from merging.network.permutation import Axis, Group, Permutation, PermutationSpec, permute

LEAST_GAIN = 1e-12  # relative to |A| |B|: what looks like a gain below it is rounding in float64
CLEAR_GAIN = 1e-5  # relative to |A| |B|: above it, a gain in float32 scores is no rounding
CHUNK = 1 << 20  # elements turned into float64 at once


@dataclass(frozen=True)
class Descent:
    """Where one coordinate descent ended: the permutation, its objective, the gain of every sweep, and whether it
    stopped by itself (`settled`) or at the bound on sweeps."""

    permutation: Permutation
    objective: float
    gains: tuple[float, ...]
    settled: bool


def matchable(model: nn.Module, spec: PermutationSpec) -> dict[str, Tensor]:
    """The tensors that units are matched on: parameters that some group lies on, in float32 or float64, contiguous.

    Complex ones as pairs of real numbers, in a last dimension of their own.  Buffers are left out: BatchNorm's running
    statistics are permuted but say nothing about which unit is which.
    """
    found = {name: as_real(p.detach()) for name, p in model.named_parameters() if name in spec.by_parameter}
    kind = torch.float64 if any(p.dtype == torch.float64 for p in found.values()) else torch.float32
    return {name: p.to(kind).contiguous() for name, p in found.items()}


def packed(tensors: Mapping[str, Tensor], spec: PermutationSpec) -> tuple[dict[str, Tensor], PermutationSpec]:
    """The same matching problem in fewer tensors: each group's vectors (biases, norm parameters) as one matrix.

    tensors: `matchable`, of any shape.  Gives name -> tensor, and the groups with only those axes that lie on them.
    """
    parts, groups = packing({name: tuple(tensor.shape) for name, tensor in tensors.items()}, spec)
    return {name: part(tensors, name, vectors) for name, vectors in parts.items()}, groups


def packing(
    shapes: Mapping[str, tuple[int, ...]], spec: PermutationSpec
) -> tuple[dict[str, tuple[str, ...]], PermutationSpec]:
    """How `packed` packs tensors of these shapes: name -> the vectors that it is made of, () for a tensor as it is; and
    the groups."""
    parts: dict[str, tuple[str, ...]] = dict.fromkeys(shapes, ())
    groups = []
    for group in spec.groups:
        axes = tuple(axis for axis in group.axes if axis.parameter in shapes)
        vectors = [axis for axis in axes if shapes[axis.parameter] == (group.size,)]
        if vectors:
            name = f"vectors of {group.name}"
            for axis in vectors:
                del parts[axis.parameter]
            parts[name] = tuple(axis.parameter for axis in vectors)
            axes = (*(axis for axis in axes if axis not in vectors), Axis(name, 0))
        groups.append(replace(group, axes=axes))
    return parts, PermutationSpec(tuple(groups))


def part(tensors: Mapping[str, Tensor], name: str, vectors: tuple[str, ...]) -> Tensor:
    """One tensor of a packed problem: the tensor of that name, or its vectors (units,) as the columns of a matrix."""
    return torch.stack([tensors[vector] for vector in vectors], dim=1) if vectors else tensors[name]


def neighbours(spec: PermutationSpec) -> dict[str, list[str]]:
    """Group -> the groups whose assignment depends on it: those on other axes of its tensors, and those that cut the
    same stretch of an axis another way (heads, and units inside a head). A group with one tensor on two axes is its
    own neighbour: its assignment is a linearisation of a quadratic problem."""
    near: dict[str, dict[str, None]] = {group.name: {} for group in spec.groups}
    for pairs in spec.by_parameter.values():
        for axis, group in pairs:
            for place, other in pairs:
                crosses = other is not group and overlap(axis, group.size, place, other.size)
                if place.dim != axis.dim or crosses:
                    near[group.name][other.name] = None
    return {name: list(found) for name, found in near.items()}


def overlap(a: Axis, size_a: int, b: Axis, size_b: int) -> bool:
    """Whether the units of two axes, on one dimension of one tensor, share indices."""
    return a.offset < b.offset + size_b * b.block and b.offset < a.offset + size_a * a.block


def unfold(tensor: Tensor, axis: Axis, units: int) -> Tensor:
    """The tensor as one row a unit: shape (units, block * all other elements). A view where the memory allows it."""
    if axis.dim == 0 and len(tensor) == units * axis.block:
        return tensor.reshape(units, -1)
    rows = tensor.movedim(axis.dim, 0)[axis.offset : axis.offset + units * axis.block]
    return rows.reshape(units, -1)


def unit_rows(tensors: Mapping[str, Tensor], group: Group) -> Iterator[Tensor]:
    """All that belongs to the group's units: a matrix (units, k) per axis, one after another."""
    return (unfold(tensors[axis.parameter], axis, group.size) for axis in group.axes)


def similarity(a: Iterable[Tensor], b: Iterable[Tensor]) -> Tensor:
    """(units, units): inner product of A's unit i and B's unit j over all their rows. a, b: matrices (units, k)."""
    pairs = zip(a, b, strict=True)
    first, other = next(pairs)
    total = first @ other.T
    for mine, other in pairs:
        total.addmm_(mine, other.T)
    return total


def assign(scores: Tensor) -> Tensor:
    """The permutation p (units,) int64 that maximises sum_i scores[i, p[i]]. scores: (units, units)."""
    return assign_and_gain(scores)[0]


def assign_and_gain(scores: Tensor) -> tuple[Tensor, float]:
    """The assignment (units,) int64, and what its scores gain over the diagonal's: 0 where it is the diagonal."""
    costs = scores.detach().cpu().neg().numpy()  # negated here: `maximize=True` would copy it once more, in float64
    rows, columns = linear_sum_assignment(costs)
    gain = costs.diagonal().sum(dtype=np.float64) - costs[rows, columns].sum(dtype=np.float64)
    return torch.from_numpy(columns.astype(np.int64, copy=False)), float(gain) if (rows != columns).any() else 0.0


def as_real(tensor: Tensor) -> Tensor:
    """The tensor, or where it is complex its real and imaginary parts in a last dimension of their own."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def inner(a: Tensor, b: Tensor) -> float:
    """The inner product of two tensors of one shape, of complex ones as of pairs, summed in float64."""
    a, b = as_real(a), as_real(b)
    if a.numel() <= CHUNK:
        return float(torch.dot(a.flatten().double(), b.flatten().double()))
    parts = zip(a.flatten().split(CHUNK), b.flatten().split(CHUNK), strict=True)
    return math.fsum(float(torch.dot(x.double(), y.double())) for x, y in parts)


def coordinate_descent(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    spec: PermutationSpec,
    start: Permutation,
    rng: np.random.Generator,
    sweeps: int,
    tell: Callable[[int, float], None],
    *,
    keep: bool = True,
) -> Descent:
    """Maximise sum <A, p(B)> one group at a time, in random order, until no group gains (Ainsworth et al., Alg. 1).

    a, b: tensors, name -> tensor, and spec, as from `packed`.  start: b's permutation to begin with.  rng: draws the
    order of visits.  sweeps: the most passes over all groups.  tell(sweep, gain): called after each.  keep: whether
    copies of the tensors are held in memory; else one of `a` and one of `b` are read at a time, with the same result.
    A group is visited again only after one that shares a tensor with it has moved, for else its assignment would be
    the same; a move is taken only if it surely gains, so the loop ends.
    """
    found, near, moved = dict(start), neighbours(spec), _started(b, spec, start, keep)
    scale = sum(float(a[name].norm() * b[name].norm()) for name in a)
    rows = {group.name: list(unit_rows(a, group)) for group in spec.groups if keep}
    stale = {group.name for group in spec.groups if group.axes}
    gains: list[float] = []
    while stale and len(gains) < sweeps:
        gain = 0.0
        for index in rng.permutation(len(spec.groups)):
            group = spec.groups[index]
            if group.name not in stale:
                continue
            stale.remove(group.name)
            own = rows[group.name] if keep else unit_rows(a, group)
            order, gained = assign_and_gain(similarity(own, unit_rows(moved, group)))
            if gained == 0:
                continue
            trial = moved.moved(group, order)
            if gained < CLEAR_GAIN * scale or group.name in near[group.name]:
                gained = _gain(a, moved, trial, group)
            if gained > LEAST_GAIN * scale:
                moved = trial
                found[group.name] = found[group.name][order]
                stale.update(near[group.name])
                gain += gained
        gains.append(gain)
        tell(len(gains), gain)
    return Descent(found, objective(a, moved), tuple(gains), not stale)


def match_rest(problem: Problem, names: Sequence[str], permutation: Permutation) -> Permutation:
    """Groups `names` of B matched to A's by weights, the others being permuted already; {} for no names.

    For groups that no activation shows unit by unit, as heads and the groups of a convolution.
    """
    if not names:
        return {}
    first, second = problem.models[0], permute(problem.models[1], problem.spec, permutation)
    spec = PermutationSpec(tuple(group for group in problem.spec.groups if group.name in names))
    (a, spec), (b, _) = (packed(matchable(model, spec), spec) for model in (first, second))
    rng = np.random.default_rng(problem.seed)
    return coordinate_descent(a, b, spec, spec.identity(), rng, 100, lambda sweep, gain: None).permutation


def objective(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """sum <A, B> over the tensors of `a`, in float64. a, b: name -> tensor of any shape, the same in both."""
    return math.fsum(inner(tensor, b[name]) for name, tensor in a.items())


def _started(
    b: Mapping[str, Tensor], spec: PermutationSpec, start: Permutation, keep: bool
) -> HeldTensors | MovedTensors:
    """B's tensors in the order that a descent begins with."""
    moved: HeldTensors | MovedTensors
    moved = HeldTensors(b) if keep else MovedTensors(b, {name: tuple(tensor.shape) for name, tensor in b.items()})
    for group in spec.groups:
        if not torch.equal(start[group.name], torch.arange(group.size)):  # else a copy of all tensors would be made
            moved = moved.moved(group, start[group.name])
    return moved


def _gain(a: Mapping[str, Tensor], tensors: Mapping[str, Tensor], trial: Mapping[str, Tensor], group: Group) -> float:
    """The true gain of a move, in float64: rounding in the scores could else send two equal units to and fro."""
    names = dict.fromkeys(axis.parameter for axis in group.axes)
    return math.fsum(inner(a[name], trial[name]) - inner(a[name], tensors[name]) for name in names)
