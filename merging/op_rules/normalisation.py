"""Norms: statistics in which order does not matter, and weights that lie along the units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merging.labels import Layout, size_of
from merging.op_rules.base import Operation, rule


@rule("batch_norm", "instance_norm")
def batch_norm(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """weight, bias, running_mean and running_var (channels) along dimension 1."""
    for vector in (*rest, *options.values()):
        if isinstance(vector, Layout):
            op.unify(x.dims[1], vector.dims[0])
    return x


@rule("layer_norm", "rms_norm")
def layer_norm(op: Operation, x: Layout, normalized_shape: Sequence[int], *rest: Any, **options: Any) -> Layout:
    """Statistics over the last dimensions; weight and bias of their shape."""
    for weight in (*rest, *options.values()):
        if isinstance(weight, Layout):
            for dim, other in zip(x.dims[-weight.rank :], weight.dims, strict=True):
                op.unify(dim, other)
    return x


@rule("group_norm")
def group_norm(op: Operation, x: Layout, num_groups: int, *rest: Any, **options: Any) -> Layout:
    """Statistics over groups of channels: whole groups are permuted and, in every group alike, the channels inside."""
    channels = x.dims[1]
    if num_groups > 1:
        outer = op.labels.fresh(num_groups, owned=True)
        inner = op.labels.fresh(size_of(channels) // num_groups, owned=True)
        op.unify(channels, op.labels.product(outer, inner))
    for weight in (*rest, *options.values()):
        if isinstance(weight, Layout):
            op.unify(channels, weight.dims[0])
    return x


@rule("_weight_norm")
def weight_norm(op: Operation, direction: Layout, magnitude: Layout, dim: int = 0) -> Layout:
    """magnitude * direction / its norm over all dimensions but one."""
    op.unify(direction.dims[dim], magnitude.dims[dim])
    return direction


@rule("softmax", "log_softmax", "_softmax", "_log_softmax")
def softmax(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """Along any dimension: permuting its elements permutes the result."""
    return x
