"""One call of every operator that has a rule: `CASES`, key of `RULES` -> arguments, with tensors of small shapes.

A tensor is drawn with `t`, indices below a bound with `i`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from merging.network.tracing.rules import RULES
from merging.network.tracing.rules.elementwise import SEVERAL, UNARY

Call = tuple[tuple[Any, ...], dict[str, Any]]
_RNG = torch.Generator().manual_seed(0)


def t(*shape: int) -> Tensor:
    """Random numbers in float64."""
    return torch.randn(shape, generator=_RNG, dtype=torch.float64)


def i(below: int, *shape: int) -> Tensor:
    """Random indices."""
    return torch.randint(below, shape, generator=_RNG)


def call(*args: Any, **kwargs: Any) -> Call:
    """The arguments of a call."""
    return args, kwargs


def _cell(gates: int, states: int) -> Call:
    weights = (t(4 * gates, 3), t(4 * gates, 4), t(4 * gates), t(4 * gates))
    return call(t(2, 3), t(2, 4) if states == 1 else [t(2, 4), t(2, 4)], *weights)


def _recurrent(gates: int, states: int = 1, hidden: int = 4) -> Call:
    """Two layers in both directions; hidden < 4: projected."""
    weights = []
    for inputs in (3, 3, 2 * hidden, 2 * hidden):
        weights += [t(4 * gates, inputs), t(4 * gates, hidden), t(4 * gates), t(4 * gates)]
        weights += [t(hidden, 4)] if hidden < 4 else []
    start = [t(4, 2, hidden), t(4, 2, 4)][:states]
    return call(t(2, 5, 3), start if states == 2 else start[0], weights, True, 2, 0.5, False, True, True)


def _windows() -> dict[str, Callable[[], Call]]:
    """Pools, resizing and padding in one, two and three dimensions."""
    cases: dict[str, Callable[[], Call]] = {}
    for n in (1, 2, 3):
        shape, two = (2, 4, *[4] * n), [2] * n
        for kind in ("max", "avg"):
            cases[f"{kind}_pool{n}d"] = lambda shape=shape, two=two: call(t(*shape), two)
            cases[f"adaptive_{kind}_pool{n}d"] = lambda shape=shape, two=two: call(t(*shape), two)
        for kind in ("upsample_nearest", "_upsample_nearest_exact"):
            cases[f"{kind}{n}d"] = lambda shape=shape, two=two: call(t(*shape), two)
        for kind in ("reflection", "replication"):
            cases[f"{kind}_pad{n}d"] = lambda shape=shape, n=n: call(t(*shape), [1, 2] * n)
        if n > 1:
            cases[f"max_pool{n}d_with_indices"] = lambda shape=shape, two=two: call(t(*shape), two)
    for kind, n in {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}.items():
        cases[f"upsample_{kind}{n}d"] = lambda n=n: call(t(2, 4, *[4] * n), [3] * n, False)
    for kind in ("bilinear", "bicubic"):
        cases[f"_upsample_{kind}2d_aa"] = lambda: call(t(2, 4, 4, 4), [3, 3], False)
    return cases


def _fourier() -> dict[str, Callable[[], Call]]:
    cases: dict[str, Callable[[], Call]] = {}
    for kind in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
        cases[f"fft_{kind}"] = lambda: call(t(4, 6, 4), None, 1)
        cases[f"fft_{kind}2"] = lambda: call(t(4, 4, 6))
        cases[f"fft_{kind}n"] = lambda: call(t(4, 4, 6), None, [1])
    return cases | {f"fft_{kind}shift": lambda: call(t(4, 6), [1]) for kind in ("fft", "ifft")}


def _reductions() -> dict[str, Callable[[], Call]]:
    whole = ("mean", "sum", "max", "min", "prod", "std", "var", "median", "nanmedian")
    cases: dict[str, Callable[[], Call]] = {f"{name}.default": lambda: call(t(4, 6)) for name in whole}
    cases |= {f"{name}.default": lambda: call(t(4, 6) > 0) for name in ("any", "all")}
    for name in ("mean.dim", "sum.dim_IntList", "amax", "amin", "logsumexp", "special_logsumexp", "std.dim", "var.dim"):
        cases[name] = lambda: call(t(4, 6, 4), [1])
    for name in ("nansum", "nanmean", "frobenius_norm.dim"):
        cases[name] = lambda: call(t(4, 6, 4), [1], True)
    for name in ("max.dim", "min.dim", "median.dim", "nanmedian.dim", "mode", "argmax", "argmin", "prod.dim_int"):
        cases[name] = lambda: call(t(4, 6, 4), 1)
    for name in ("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin", "sort.default", "argsort.default"):
        cases[name] = lambda: call(t(4, 6, 4), 1)
    for name in ("linalg_vector_norm", "linalg_norm", "norm.ScalarOpt_dim"):
        cases[name] = lambda: call(t(4, 6, 4), 2, [1])
    for name in ("quantile.scalar", "nanquantile.scalar"):
        cases[name] = lambda: call(t(4, 6, 4), 0.3, 1)
    for name in ("any.dims", "all.dims"):
        cases[name] = lambda: call(t(4, 6, 4) > 0, [1, 2])
    for name in ("any.dim", "all.dim", "count_nonzero"):
        cases[name] = lambda: call(t(4, 6, 4) > 0, 1)
    return cases


_PICTURE, _MATRIX = (2, 4, 6, 6), (4, 6)

CASES: dict[str, Callable[[], Call]] = {
    **{name: lambda: call(t(4, 6) * 0.4) for name in UNARY.split()},
    **{name: lambda: call(t(4, 6), t(4, 6)) for name in SEVERAL.split()},
    **_windows(),
    **_fourier(),
    **_reductions(),
    **{name: lambda: call(i(9, 4, 6), i(5, 4, 6)) for name in SEVERAL.split() if name.startswith(("bitwise", "__"))},
    "bitwise_not": lambda: call(i(9, 4, 6)),
    "acosh": lambda: call(1 + t(4, 6).abs()),
    "arccosh": lambda: call(1 + t(4, 6).abs()),
    **{name: lambda: call(torch.complex(t(4, 6), t(4, 6))) for name in ("_conj", "imag", "angle", "real")},
    "threshold": lambda: call(t(4, 6), 0.1, 0.5),
    "to": lambda: call(t(4, 6), torch.float32),
    "type_as": lambda: call(t(4, 6), t(1)),
    "addcdiv": lambda: call(t(4, 6), t(4, 6), t(6)),
    "addcmul": lambda: call(t(4, 6), t(4, 1), t(4, 6)),
    "clamp": lambda: call(t(4, 6), t(4, 6), t(6)),
    "clip": lambda: call(t(4, 6), -0.1, 0.2),
    "fill": lambda: call(t(4, 6), 2.0),
    "zero": lambda: call(t(4, 6)),
    "ldexp": lambda: call(t(4, 6), i(3, 4, 6)),
    "lerp": lambda: call(t(4, 6), t(4, 6), t(4, 6)),
    "masked_fill": lambda: call(t(4, 6), t(4, 1) > 0, 2.0),
    "where": lambda: call(t(4, 6) > 0, t(6), t(4, 6)),
    "prelu": lambda: call(t(2, 4, 6), t(4)),
    "glu": lambda: call(t(4, 6), 1),
    **{name: lambda: call(t(4, 6), 0.5, False) for name in ("dropout", "feature_dropout")},
    **{name: lambda: call(t(4, 6), 0.5, False) for name in ("alpha_dropout", "feature_alpha_dropout")},
    "rrelu": lambda: call(t(4, 6)),
    "scaled_dot_product_attention": lambda: call(t(2, 4, 6, 4), t(2, 2, 3, 4), t(2, 2, 3, 6), t(6, 3), enable_gqa=True),
    "zeros": lambda: call([4, 6]),
    "ones": lambda: call([4, 6]),
    "full": lambda: call([4, 6], 2.0),
    "scalar_tensor": lambda: call(2.0),
    **{name: lambda: call(t(4, 6)) for name in ("zeros_like", "ones_like")},
    **{name: lambda: call(t(4, 6), [6, 4]) for name in ("new_zeros", "new_ones")},
    "full_like": lambda: call(t(4, 6), 2.0),
    "new_full": lambda: call(t(4, 6), [6], 2.0),
    "arange": lambda: call(6),
    **{name: lambda: call(0.0, 1.0, 6) for name in ("linspace", "logspace")},
    **{name: lambda: call(6) for name in ("eye", "hann_window", "hamming_window")},
    **{name: lambda: call(4, 6) for name in ("tril_indices", "triu_indices")},
    "meshgrid": lambda: call([t(4), t(6)], indexing="xy"),
    **{name: lambda: call(t(4, 6, 6)) for name in ("triu", "tril")},
    "linear": lambda: call(t(2, 4, 6), t(4, 6), t(4)),
    "matmul": lambda: call(t(4, 6, 4), t(2, 1, 4, 6)),
    "bmm": lambda: call(t(4, 6, 4), t(4, 4, 6)),
    "mm": lambda: call(t(6, 4), t(4, 6)),
    "mv": lambda: call(t(6, 4), t(4)),
    **{name: lambda: call(t(6), t(6)) for name in ("dot", "vdot")},
    "addmm": lambda: call(t(6), t(4, 6), t(6, 6)),
    "baddbmm": lambda: call(t(4, 4, 6), t(4, 4, 6), t(4, 6, 6)),
    "einsum": lambda: call("...ij,kj...->i...k", [t(4, 6, 4), t(6, 4, 4)]),
    "tensordot": lambda: call(t(4, 6, 4), t(4, 6, 6), [1, 2], [1, 0]),
    **{name: lambda: call(t(4), t(6)) for name in ("outer", "ger")},
    "bilinear": lambda: call(t(2, 4), t(2, 6), t(4, 4, 6), t(4)),
    "cdist": lambda: call(t(4, 6), t(6, 6)),
    **{f"conv{n}d": lambda n=n: call(t(2, 4, *[4] * n), t(6, 2, *[2] * n), t(6), groups=2) for n in (1, 2, 3)},
    **{
        f"conv_transpose{n}d": lambda n=n: call(t(2, 4, *[4] * n), t(4, 3, *[2] * n), t(6), groups=2) for n in (1, 2, 3)
    },
    "embedding": lambda: call(t(6, 4), i(6, 2, 4)),
    "embedding_bag": lambda: call(t(6, 4), i(6, 8), torch.tensor([0, 4]), False, 2),
    "index_select": lambda: call(t(4, 6), 1, i(6, 4)),
    "index.Tensor": lambda: call(t(4, 6, 4), [None, i(6, 4), i(4, 4)]),
    "gather": lambda: call(t(4, 6, 4), 1, i(6, 4, 4, 2)),
    "scatter.src": lambda: call(t(4, 6), 1, torch.arange(4).repeat(4, 1), t(4, 4)),
    "scatter.value": lambda: call(t(4, 6), 1, i(6, 4, 4), 2.0),
    "scatter.reduce": lambda: call(t(4, 6), 1, i(6, 4, 4), t(4, 4), reduce="add"),
    "scatter.value_reduce": lambda: call(t(4, 6), 1, i(6, 4, 4), 2.0, reduce="add"),
    "scatter_add": lambda: call(t(4, 6), 1, i(6, 4, 4), t(4, 4)),
    "scatter_reduce": lambda: call(t(4, 6), 1, i(6, 4, 4), t(4, 4), "sum"),
    "index_add": lambda: call(t(4, 6), 1, i(6, 4), t(4, 4)),
    "index_copy": lambda: call(t(4, 6), 1, torch.tensor([3, 1]), t(4, 2)),
    "index_fill": lambda: call(t(4, 6), 1, i(6, 2), 2.0),
    "index_reduce": lambda: call(t(4, 6), 1, i(6, 4), t(4, 4), "amax"),
    "index_put": lambda: call(t(4, 6), [None, i(6, 2)], t(2)),
    "one_hot": lambda: call(i(6, 4), 6),
    "bucketize.Tensor": lambda: call(t(4, 6), torch.linspace(-1, 1, 4).double()),
    "searchsorted.Tensor": lambda: call(torch.linspace(-1, 1, 4).double(), t(4, 6)),
    "batch_norm": lambda: call(t(2, 4, 6), t(4), t(4), None, None, True, 0.0, 1e-5, False),
    "instance_norm": lambda: call(t(2, 4, 6), t(4), t(4), t(4), t(4).abs(), False, 0.0, 1e-5, False),
    "layer_norm": lambda: call(t(2, 4, 6), [4, 6], t(4, 6), t(4, 6)),
    "rms_norm": lambda: call(t(2, 4, 6), [6], t(6)),
    "group_norm": lambda: call(t(2, 6, 4), 3, t(6), t(6)),
    "_weight_norm": lambda: call(t(4, 6), t(4, 1)),
    **{name: lambda: call(t(4, 6), 1, False) for name in ("_softmax", "_log_softmax")},
    **{name: lambda: call(t(4, 6), 1) for name in ("softmax", "log_softmax", "_safe_softmax")},
    **{name: lambda: call(t(4, 6), 1) for name in ("special_softmax", "special_log_softmax")},
    **{f"{kind}.input": lambda: _recurrent(1) for kind in ("rnn_tanh", "rnn_relu")},
    "gru.input": lambda: _recurrent(3),
    "lstm.input": lambda: _recurrent(4, 2, hidden=2),
    **{f"{kind}_cell": lambda: _cell(1, 1) for kind in ("rnn_tanh", "rnn_relu")},
    "gru_cell": lambda: _cell(3, 1),
    "lstm_cell": lambda: _cell(4, 2),
    "norm.Scalar": lambda: call(t(4, 6)),
    **{f"{name}.correction": lambda: call(t(4, 6), [1], correction=0) for name in ("std", "var")},
    "linalg_matrix_norm": lambda: call(t(4, 6, 4), "nuc"),
    **{name: lambda: call(t(4, 6, 4), [1], True) for name in ("var_mean", "std_mean")},
    "aminmax": lambda: call(t(4, 6), dim=1),
    "cosine_similarity": lambda: call(t(2, 4, 6), t(4, 6), 1),
    "pairwise_distance": lambda: call(t(4, 6), t(4, 6)),
    "kthvalue": lambda: call(t(4, 6, 4), 2, 1),
    "msort": lambda: call(t(4, 6)),
    "sort.stable": lambda: call(t(4, 6), stable=True, dim=1),
    "topk": lambda: call(t(4, 6, 4), 3, 1),
    "diff": lambda: call(t(4, 6), 1, 1),
    "roll": lambda: call(t(4, 6), [2], [1]),
    "flip": lambda: call(t(4, 6), [1]),
    **{name: lambda: call(t(4, 6, 4), [2, 2, 24]) for name in ("view.default", "reshape", "_unsafe_view")},
    "flatten": lambda: call(t(2, 4, 6), 1),
    "unflatten": lambda: call(t(4, 6), 1, [2, 3]),
    "squeeze": lambda: call(t(4, 1, 6)),
    "unsqueeze": lambda: call(t(4, 6), 1),
    **{name: lambda: call(t(4, 6), t(2, 2, 6)) for name in ("view_as", "reshape_as")},
    "permute": lambda: call(t(2, 4, 6), [2, 0, 1]),
    **{name: lambda: call(t(2, 4, 6), 0, -1) for name in ("transpose.int", "swapaxes", "swapdims")},
    **{name: lambda: call(t(4, 6)) for name in ("t", "numpy_T")},
    **{name: lambda: call(t(2, 4, 6)) for name in ("mT", "mH", "adjoint")},
    **{name: lambda: call(t(2, 4, 6, 4), [1, 2], [3, 0]) for name in ("movedim", "moveaxis")},
    "diagonal": lambda: call(t(6, 4, 6), 0, 0, 2),
    "diag_embed": lambda: call(t(4, 6)),
    "expand": lambda: call(t(4, 1), [6, 4, 6]),
    "expand_as": lambda: call(t(4, 1), t(4, 6)),
    "broadcast_to": lambda: call(t(6), [4, 6]),
    **{name: lambda: call(t(4, 6), [2, 1, 3]) for name in ("repeat", "tile")},
    "repeat_interleave.self_int": lambda: call(t(4, 6), 2, 1),
    "view_as_complex": lambda: call(t(4, 6, 2)),
    "view_as_real": lambda: call(torch.complex(t(4, 6), t(4, 6))),
    **{name: lambda: call([t(4, 6), t(4, 4)], 1) for name in ("cat", "concat", "concatenate")},
    **{name: lambda: call([t(6, 4), t(6, 6)]) for name in ("hstack", "column_stack")},
    **{name: lambda: call([t(4, 6), t(6, 6)]) for name in ("vstack", "row_stack")},
    "dstack": lambda: call([t(4, 6, 4), t(4, 6, 6)]),
    "stack": lambda: call([t(4, 6), t(4, 6)], 1),
    "tensor_split.sections": lambda: call(t(4, 6), 4, 1),
    "tensor_split.indices": lambda: call(t(4, 6), [1, 4], 1),
    **{name: lambda: call(t(4, 6), 2, 1) for name in ("chunk", "unsafe_chunk", "split.Tensor", "unsafe_split")},
    **{name: lambda: call(t(4, 6), [1, 5], 1) for name in ("split_with_sizes", "split.sizes")},
    **{name: lambda: call(t(4, 6, 4), 2) for name in ("hsplit", "vsplit", "dsplit")},
    "unbind": lambda: call(t(4, 6), 1),
    "select.int": lambda: call(t(4, 6), 1, -2),
    "slice.Tensor": lambda: call(t(4, 6), 1, 1, 6, 2),
    "narrow": lambda: call(t(4, 6), 1, 2, 3),
    "pad": lambda: call(t(4, 6), [1, 2, 0, 1]),
    "constant_pad_nd": lambda: call(t(4, 6), [-1, 2], 0.5),
    "pixel_shuffle": lambda: call(t(2, 8, 4, 4), 2),
    "pixel_unshuffle": lambda: call(t(*_PICTURE), 2),
    "channel_shuffle": lambda: call(t(2, 6, 4, 4), 2),
    **{f"max_unpool{n}d": lambda n=n: call(t(2, 4, *[2] * n), _places(4, n), [4] * n) for n in (2,)},
    "max_unpool3d": lambda: call(t(2, 4, 2, 2, 2), _places(4, 3), [4, 4, 4], [2, 2, 2], [0, 0, 0]),
    "unfold": lambda: call(t(4, 6), 1, 3, 3),
    "im2col": lambda: call(t(*_PICTURE), [2, 2], [1, 1], [0, 0], [1, 1]),
    "col2im": lambda: call(t(2, 16, 25), [6, 6], [2, 2], [1, 1], [0, 0], [1, 1]),
    "grid_sampler": lambda: call(t(*_PICTURE), t(2, 4, 4, 2).tanh(), 0, 0, False),
    "affine_grid_generator": lambda: call(t(4, 2, 3), [4, 2, 6, 6], False),
}


def _places(channels: int, n: int) -> Tensor:
    """Places (2, channels, 2, ...) of maxima in pictures of side 4, all different in each channel."""
    orders = [torch.randperm(4**n, generator=_RNG)[: 2**n] for _ in range(2 * channels)]
    return torch.stack(orders).reshape(2, channels, *[2] * n)


def missing() -> set[str]:
    """The rules that no case calls."""
    return RULES.keys() - CASES.keys()
