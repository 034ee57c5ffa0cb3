"""Rules for elementwise operators: they unify the units of their operands."""

from __future__ import annotations

from typing import Any

from merging.network.tracing.labels import Layout, fixed, size_of
from merging.network.tracing.rules.base import IN_TRAINING, Operation, rule

UNARY = (
    "abs absolute acos acosh alias angle arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh"
    " bitwise_not ceil celu clone _conj conj conj_physical contiguous cos cosh deg2rad detach digamma elu erf erfc"
    " erfinv exp exp2 expm1 fix floor frac gelu hardshrink hardsigmoid hardswish hardtanh i0 imag isfinite isinf isnan"
    " isneginf isposinf leaky_relu lgamma lift_fresh_copy log log10 log1p log2 log_sigmoid logical_not logit mish"
    " nan_to_num neg negative positive rad2deg real reciprocal relu relu6 resolve_conj resolve_neg round rsqrt selu"
    " sgn sigmoid sign signbit silu sin sinc sinh softplus softshrink special_digamma special_entr special_erf"
    " special_erfc special_erfinv special_exp2 special_expit special_expm1 special_gammaln special_i0 special_i0e"
    " special_i1 special_i1e special_log1p special_log_ndtr special_logit special_ndtr special_ndtri special_psi"
    " special_round special_sinc sqrt square tan tanh threshold to _to_copy trunc type_as"
)
SEVERAL = (
    "add addcdiv addcmul __and__ arctan2 atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift"
    " bitwise_xor clamp clamp_max clamp_min clip complex copy copysign div divide eq fill float_power floor_divide"
    " fmax fmin fmod ge greater greater_equal gt heaviside hypot ldexp le lerp less less_equal logaddexp logaddexp2"
    " logical_and logical_or logical_xor __lshift__ lt masked_fill max.other maximum min.other minimum mul multiply ne"
    " nextafter not_equal __or__ polar pow remainder rsub __rshift__ special_xlog1py special_xlogy sub subtract"
    " true_divide where xlogy __xor__ zero"
)


@rule(*UNARY.split())
def unary(op: Operation, x: Layout, *rest: Any, **options: Any) -> Layout:
    """f(x), element by element."""
    return x


@rule(*SEVERAL.split())
def several(op: Operation, *operands: Any, **options: Any) -> Layout:
    """f(x, y, ...), element by element, with broadcasting from the right."""
    layouts = [operand for operand in (*operands, *options.values()) if isinstance(operand, Layout)]
    return broadcast(op, layouts, len(op.shape))


def broadcast(op: Operation, layouts: list[Layout], rank: int) -> Layout:
    """Return the layout of operands broadcast to `rank` dimensions; their units are unified per dimension."""
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
    """max(x, 0) + weight * min(x, 0), with one weight per channel or a single one."""
    if weight.rank:
        op.unify(x.dims[1 if x.rank > 1 else 0], weight.dims[0])
    return x


@rule("glu")
def glu(op: Operation, x: Layout, dim: int = -1) -> Layout:
    """The first half of a dimension times the sigmoid of the second half."""
    place = dim % x.rank
    first, second = op.labels.split(x.dims[place], [size_of(x.dims[place]) // 2] * 2)
    op.unify(first, second)
    return x.replace(place, first)


@rule("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def dropout(op: Operation, x: Layout, p: float, train: bool) -> Layout:
    """The identity in eval mode."""
    if train and p:
        op.refuse("it draws random numbers in eval mode too (pass training=self.training)", IN_TRAINING)
    return x


@rule("rrelu")
def randomized_relu(
    op: Operation, x: Layout, lower: float = 0.125, upper: float = 1 / 3, training: bool = False, generator: Any = None
) -> Layout:
    """A leaky ReLU in eval mode."""
    return dropout(op, x, 1.0, training)
