"""Matching units by weights: similarity of two networks' units, assignment, and coordinate descent over groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from merging.errors import IncompatibleModels
from merging.methods.problem import Problem
from merging.network.lazy_tensors import HeldTensors, MovedTensors
from merging.network.permutation import Axis, Group, Permutation, PermutationSpec, permute

LEAST_GAIN = 1e-12  # relative to |A| |B|: a smaller gain in float64 may be a rounding error
CLEAR_GAIN = 1e-5  # relative to |A| |B|: a smaller gain in float32 may be a rounding error and is recomputed in float64
CHUNK = 1 << 20  # elements converted to float64 at once, to bound memory


@dataclass(frozen=True)
class Descent:
    """Result of one coordinate descent.

    Attributes:
        permutation: the final permutation, group -> (units,) int64.
        objective: sum <A, p(B)> at the end.
        gains: gain of the objective per sweep.
        settled: True if the last sweep left no group to improve, False if the bound on sweeps ended the descent.
    """

    permutation: Permutation
    objective: float
    gains: tuple[float, ...]
    settled: bool


def matchable(model: nn.Module, spec: PermutationSpec) -> dict[str, Tensor]:
    """Return the tensors by which units are matched: the permuted parameters, contiguous, in float32 or float64.

    Complex parameters become pairs of real numbers in an additional last dimension. Buffers are left out: BatchNorm's
    running statistics are permuted too, but are not used to match units.
    """
    tensors = {name: as_real(p.detach()) for name, p in model.named_parameters() if name in spec.by_parameter}
    kind = torch.float64 if any(p.dtype == torch.float64 for p in tensors.values()) else torch.float32
    return {name: p.to(kind).contiguous() for name, p in tensors.items()}


def packed(tensors: Mapping[str, Tensor], spec: PermutationSpec) -> tuple[dict[str, Tensor], PermutationSpec]:
    """Return the same matching problem in fewer tensors: a group's vectors (biases, norm parameters) form one matrix.

    tensors: as from `matchable`, of any shape. Returns the packed tensors by name, and the groups with their axes on
    the packed tensors.
    """
    parts, groups = packing({name: tuple(tensor.shape) for name, tensor in tensors.items()}, spec)
    return {name: part(tensors, name, vectors) for name, vectors in parts.items()}, groups


def packing(
    shapes: Mapping[str, tuple[int, ...]], spec: PermutationSpec
) -> tuple[dict[str, tuple[str, ...]], PermutationSpec]:
    """Return the layout of `packed` for tensors of these shapes, and the groups on the packed tensors.

    The layout maps each packed tensor's name to the vectors that form its columns, or to () if it is unchanged.
    """
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
    """Return one tensor of a packed problem: the tensor `name`, or its `vectors`, (units,) each, stacked as columns."""
    return torch.stack([tensors[vector] for vector in vectors], dim=1) if vectors else tensors[name]


def neighbours(spec: PermutationSpec) -> dict[str, list[str]]:
    """Return group -> the groups whose assignment depends on it.

    These groups lie on other axes of the same tensors, or divide the same part of an axis differently
    (attention heads, and the units inside a head). A group on two axes of one tensor is its own neighbour, because
    permuting it changes its own scores (the objective is quadratic, and an assignment maximises its linearisation).
    """
    near: dict[str, dict[str, None]] = {group.name: {} for group in spec.groups}
    for pairs in spec.by_parameter.values():
        for axis, group in pairs:
            for place, other in pairs:
                crosses = other is not group and axes_overlap(axis, group.size, place, other.size)
                if place.dim != axis.dim or crosses:
                    near[group.name][other.name] = None
    return {name: list(groups) for name, groups in near.items()}


def axes_overlap(a: Axis, size_a: int, b: Axis, size_b: int) -> bool:
    """Return whether two `Axis` ranges on the same dimension of one tensor overlap."""
    return a.offset < b.offset + size_b * b.block and b.offset < a.offset + size_a * a.block


def rows_per_unit(tensor: Shaped[Tensor, "..."], axis: Axis, units: int) -> Shaped[Tensor, "{units} elements"]:
    """Return the tensor with one row per unit: (units, block * other elements), a view if the layout allows it."""
    if axis.dim == 0 and len(tensor) == units * axis.block:
        return tensor.reshape(units, -1)
    rows = tensor.movedim(axis.dim, 0)[axis.offset : axis.offset + units * axis.block]
    return rows.reshape(units, -1)


def unit_rows(tensors: Mapping[str, Tensor], group: Group) -> Iterator[Tensor]:
    """Yield the weights of the group's units: one matrix (units, k) per axis."""
    return (rows_per_unit(tensors[axis.parameter], axis, group.size) for axis in group.axes)


def weight_similarity(a: Iterable[Tensor], b: Iterable[Tensor]) -> Float[Tensor, "n m"]:
    """Return the (units, units) inner products of A's and B's units, summed over the axes' matrices (units, k)."""
    pairs = zip(a, b, strict=True)
    first, other = next(pairs)
    total = first @ other.T
    for mine, other in pairs:
        total.addmm_(mine, other.T)
    return total


def assign(scores: Float[Tensor, "n n"]) -> Int[Tensor, " n"]:
    """Return the permutation p, (units,) int64, that maximises sum_i scores[i, p[i]]. scores: (units, units)."""
    return assign_and_gain(scores)[0]


def assign_and_gain(scores: Float[Tensor, "n n"]) -> tuple[Int[Tensor, " n"], float]:
    """Return the best assignment, (units,) int64, and the gain of its score over the identity's."""
    if not bool(torch.isfinite(scores).all()):
        raise IncompatibleModels(
            "The similarities of the units are not finite numbers: the weights are too large for their "
            "number type, as after a diverged training. Choose another checkpoint."
        )
    costs = scores.detach().cpu().neg().numpy()  # negated here: `maximize=True` would make one more float64 copy
    rows, columns = linear_sum_assignment(costs)
    gain = costs.diagonal().sum(dtype=np.float64) - costs[rows, columns].sum(dtype=np.float64)
    return torch.from_numpy(columns.astype(np.int64, copy=False)), float(gain) if (rows != columns).any() else 0.0


def as_real(tensor: Tensor) -> Tensor:
    """Return a tensor of any shape; if complex, its real and imaginary parts in a new last dimension: (..., 2)."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def inner(a: Tensor, b: Tensor) -> float:
    """Return the inner product of two tensors of one shape, summed in float64; complex numbers count as real pairs."""
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

    A group is visited again only after one of its `neighbours` has changed, because otherwise its assignment would be
    the same. A change is accepted only if its gain exceeds the rounding error, so the loop ends.
    Args:
        a, b: name -> tensor of each network; spec: their groups; all in the form that `packed` returns.
        start: initial permutation of b.
        rng: draws the order of visits.
        sweeps: bound on the passes over all groups.
        tell: called as tell(sweep, gain) after each pass.
        keep: hold copies of all tensors in memory; else read one tensor of `a` and `b` at a time, with equal results.
    """
    permutation, near, current = dict(start), neighbours(spec), _started(b, spec, start, keep)
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
            order, increase = assign_and_gain(weight_similarity(own, unit_rows(current, group)))
            if increase == 0:
                continue
            trial = current.moved(group, order)
            if increase < CLEAR_GAIN * scale or group.name in near[group.name]:
                increase = _gain(a, current, trial, group)
            if increase > LEAST_GAIN * scale:
                current = trial
                permutation[group.name] = permutation[group.name][order]
                stale.update(near[group.name])
                gain += increase
        gains.append(gain)
        tell(len(gains), gain)
    return Descent(permutation, objective(a, current), tuple(gains), not stale)


def match_rest(problem: Problem, names: Sequence[str], permutation: Permutation) -> Permutation:
    """Match the groups `names` of B to A's by weights, with B's other groups permuted by `permutation`.

    Activation-based aligners use it where no activations can be read for a group: attention heads, and the channel
    groups of a grouped convolution.
    Returns group -> (units,) int64 for these groups only; {} if `names` is empty.
    """
    if not names:
        return {}
    first, second = problem.models[0], permute(problem.models[1], problem.spec, permutation)
    spec = PermutationSpec(tuple(group for group in problem.spec.groups if group.name in names))
    (a, spec), (b, _) = (packed(matchable(model, spec), spec) for model in (first, second))
    rng = np.random.default_rng(problem.seed)
    return coordinate_descent(a, b, spec, spec.identity(), rng, 100, lambda sweep, gain: None).permutation


def objective(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Return sum <A, B> over the tensors of `a`, in float64. a, b: name -> tensor, of equal shapes in both."""
    return math.fsum(inner(tensor, b[name]) for name, tensor in a.items())


def _started(
    b: Mapping[str, Tensor], spec: PermutationSpec, start: Permutation, keep: bool
) -> HeldTensors | MovedTensors:
    """Return B's tensors permuted by `start`."""
    current: HeldTensors | MovedTensors
    current = HeldTensors(b) if keep else MovedTensors(b, {name: tuple(tensor.shape) for name, tensor in b.items()})
    for group in spec.groups:
        if not torch.equal(start[group.name], torch.arange(group.size)):  # permuting by the identity would only copy
            current = current.moved(group, start[group.name])
    return current


def _gain(a: Mapping[str, Tensor], tensors: Mapping[str, Tensor], trial: Mapping[str, Tensor], group: Group) -> float:
    """Return the exact gain of a change, in float64: with rounding errors, two equal units could swap forever."""
    names = dict.fromkeys(axis.parameter for axis in group.axes)
    return math.fsum(inner(a[name], trial[name]) - inner(a[name], tensors[name]) for name in names)
