"""Rules for norms: their statistics do not depend on the units' order, and their weights move with the units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merging.network.tracing.labels import Layout, size_of
from merging.network.tracing.rules.base import IN_TRAINING, Operation, rule


@rule("batch_norm", "instance_norm")
def batch_norm(
    op: Operation,
    x: Layout,
    weight: Layout | None,
    bias: Layout | None,
    mean: Layout | None,
    variance: Layout | None,
    of_batch: bool,
    *rest: Any,
) -> Layout:
    """weight, bias, running mean and variance (channels) along dimension 1.

    of_batch: statistics come from the current batch, in eval mode too if the norm has no running statistics.
    """
    if of_batch and mean is not None:
        op.refuse("it is in training mode: it normalises by the batch and changes its running statistics", IN_TRAINING)
    for vector in (weight, bias, mean, variance):
        if vector is not None:
            op.unify(x.dims[1], vector.dims[0])
    return x


@rule("layer_norm", "rms_norm")
def layer_norm(op: Operation, x: Layout, normalized_shape: Sequence[int], *rest: Any, **options: Any) -> Layout:
    """Statistics over the last dimensions; weight and bias have the shape of these dimensions."""
    for weight in (*rest, *options.values()):
        if isinstance(weight, Layout):
            for dim, other in zip(x.dims[-weight.rank :], weight.dims, strict=True):
                op.unify(dim, other)
    return x


@rule("group_norm")
def group_norm(op: Operation, x: Layout, num_groups: int, *rest: Any, **options: Any) -> Layout:
    """Statistics over groups of channels.

    Whole groups are permuted, and inside every group the channels are permuted in the same way.
    """
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
    """magnitude * direction / norm of direction, over all dimensions except `dim`, or over all dimensions."""
    if magnitude.rank:
        op.unify(direction.dims[dim], magnitude.dims[dim])
    return direction


@rule("softmax", "log_softmax", "_softmax", "_log_softmax", "_safe_softmax", "special_softmax", "special_log_softmax")
def softmax(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """A softmax along any dimension: permuting its elements permutes the result in the same way."""
    return x
