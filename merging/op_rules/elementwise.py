"""Operators that treat every element alike: they unite the units of their operands."""

from __future__ import annotations

from typing import Any

from merging.labels import Layout, fixed, size_of
from merging.op_rules.base import Operation, rule

_UNARY = (
    "abs acos asin atan ceil celu clone contiguous cos cosh detach alias elu erf erfc exp expm1 floor frac gelu"
    " hardshrink hardsigmoid hardswish hardtanh isnan leaky_relu lift_fresh_copy log log10 log1p log2 log_sigmoid"
    " logical_not logit mish nan_to_num neg reciprocal relu relu6 round rsqrt selu sigmoid sign silu sin sinh softplus"
    " softshrink softsign sqrt square tan tanh threshold to _to_copy trunc type_as float half double bfloat16"
    " bitwise_not positive sgn tanhshrink"
)
_SEVERAL = (
    "add sub rsub mul div pow maximum minimum fmod remainder floor_divide atan2 where masked_fill lerp addcmul addcdiv"
    " clamp clamp_min clamp_max eq ne lt le gt ge logical_and logical_or logical_xor bitwise_and bitwise_or max.other"
    " min.other copysign hypot xlogy copy fill zero heaviside"
)


@rule(*_UNARY.split())
def unary(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """f(x), element by element."""
    return x


@rule(*_SEVERAL.split())
def several(op: Operation, *operands: Any, **options: Any) -> Layout:
    """f(x, y, ...), element by element, with broadcasting from the right."""
    layouts = [operand for operand in (*operands, *options.values()) if isinstance(operand, Layout)]
    return broadcast(op, layouts, len(op.shape))


def broadcast(op: Operation, layouts: list[Layout], rank: int) -> Layout:
    """The layout of operands spread over each other; their units are united dimension by dimension."""
    result = [fixed(1)] * rank
    for layout in layouts:
        for place, dim in enumerate(layout.dims, start=rank - layout.rank):
            if size_of(result[place]) == 1:
                result[place] = dim
            else:
                op.unify(result[place], dim)
    return Layout(tuple(result))


@rule("prelu")
def prelu(op: Operation, x: Layout, weight: Layout) -> Layout:
    """max(x, 0) + weight * min(x, 0), one weight a channel or one in all."""
    if weight.rank:
        op.unify(x.dims[1 if x.rank > 1 else 0], weight.dims[0])
    return x


@rule("glu")
def glu(op: Operation, x: Layout, dim: int = -1) -> Layout:
    """The first half of a dimension times the sigmoid of the second."""
    place = dim % x.rank
    first, second = op.labels.split(x.dims[place], [size_of(x.dims[place]) // 2] * 2)
    op.unify(first, second)
    return x.replace(place, first)


@rule("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def dropout(op: Operation, x: Layout, p: float, train: bool) -> Layout:
    """Nothing in eval mode."""
    if train and p:
        op.refuse("it draws random numbers in eval mode too (pass training=self.training)")
    return x


@rule("rrelu")
def randomized_relu(
    op: Operation, x: Layout, lower: float = 0.125, upper: float = 1 / 3, training: bool = False, generator: Any = None
) -> Layout:
    """A leaky ReLU in eval mode."""
    return dropout(op, x, 1.0, training)
