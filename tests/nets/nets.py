"""Small networks for the tests, by name: `NETS`, all of which can be followed. A factory gives (model, example): a
float32 net in eval mode with seeded random weights, norm parameters and running statistics, and images (2, ...)."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.nets.net_parts import IMAGES, Forward, Net, between, ready
from tests.nets.nets_of_operators import OPERATORS
from tests.nets.nets_of_tokens import TOKENS
from tests.nets.nets_recurrent import RECURRENT

__all__ = ["IMAGES", "NETS", "NEW_SIZES", "Forward", "Net", "between", "ready"]


def mlp(activation: Callable[[], nn.Module] = nn.ReLU, widths: tuple[int, ...] = (7, 6)) -> Net:
    """Flattened images, linear layers, an activation between them."""
    layers: list[nn.Module] = [nn.Flatten(1)]
    size = 48
    for width in widths:
        layers += [nn.Linear(size, width), activation()]
        size = width
    return ready(nn.Sequential(*layers, nn.Linear(size, 4)), (3, 4, 4))


def cnn(norm: Callable[[int], nn.Module] | None = None, pool: Callable[[], nn.Module] | None = None) -> Net:
    """Two convolutions with in-place ReLUs, a pool after the first, flattened before the classifier."""
    first = [nn.Conv2d(3, 6, 3, padding=1), *([norm(6)] if norm else []), nn.ReLU(inplace=True)]
    between = [pool()] if pool else []
    second = [nn.Conv2d(6, 4, 3, padding=1), *([norm(4)] if norm else []), nn.ReLU(inplace=True)]
    features = nn.Sequential(*first, *between, *second)
    size = features(torch.zeros(1, *IMAGES)).numel()
    return ready(nn.Sequential(features, nn.Flatten(1), nn.Dropout(), nn.Linear(size, 5)))


def activated(activation: Callable[[], nn.Module]) -> Net:
    """A convolution, an activation, a global average and a classifier."""
    layers = [nn.Conv2d(3, 6, 3), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(6, 5)]
    return ready(nn.Sequential(*layers))


class Block(nn.Module):
    """relu(shortcut(x) + norm(conv(relu(norm(conv(x)))))), both ReLUs one in-place module."""

    def __init__(self, inside: int, width: int, norm: Callable[[int], nn.Module], shortcut: str) -> None:
        super().__init__()
        stride = 1 if inside == width else 2
        self.conv1, self.norm1 = nn.Conv2d(inside, width + 1, 3, stride, 1, bias=False), norm(width + 1)
        self.conv2, self.norm2 = nn.Conv2d(width + 1, width, 3, 1, 1, bias=False), norm(width)
        self.act = nn.ReLU(inplace=True)
        self.kind = "identity" if stride == 1 else shortcut
        self.pad = (width - inside) // 2, width - inside - (width - inside) // 2
        if self.kind == "conv":
            self.shortcut = nn.Sequential(nn.Conv2d(inside, width, 1, stride, bias=False), norm(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        return self.act(y + self.beside(x))

    def beside(self, x: Tensor) -> Tensor:
        if self.kind == "conv":
            return self.shortcut(x)
        if self.kind == "pad":
            return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, *self.pad))
        if self.kind == "cat":
            small = F.avg_pool2d(x, 2)
            zeros = small.new_zeros(small.shape[0], sum(self.pad), *small.shape[2:])
            return torch.cat([small, zeros], dim=1)
        return x


class ChannelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of a picture."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def residual(norm: Callable[[int], nn.Module] = nn.BatchNorm2d, shortcut: str = "conv") -> Net:
    """A stem, a block, a block of twice the width at half the size, an average and a classifier: widths 4 and 8."""
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), norm(4), nn.ReLU())
    blocks = nn.Sequential(Block(4, 4, norm, shortcut), Block(4, 8, norm, shortcut))
    return ready(nn.Sequential(stem, blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(8, 5)))


def used_twice() -> Net:
    """One linear layer used twice, so that its inputs and outputs are one group, and one ReLU used three times."""
    parts = {"first": nn.Linear(6, 5), "again": nn.Linear(5, 5), "act": nn.ReLU(), "head": nn.Linear(5, 3)}
    return ready(Forward(lambda m, x: m.head(m.act(m.again(m.act(m.again(m.act(m.first(x))))))), **parts), (6,))


def tied() -> Net:
    """Two layers that share one weight, which makes the first, second and third hidden layer one group."""
    parts = {name: nn.Linear(5, 5) for name in ("one", "two")}
    parts["two"].weight = parts["one"].weight
    ends = {"first": nn.Linear(6, 5), "head": nn.Linear(5, 3)}
    run = lambda m, x: m.head(m.two(m.one(m.first(x).relu()).relu()).relu())  # noqa: E731
    return ready(Forward(run, **ends, **parts), (6,))


def normalised() -> Net:
    """A fixed first layer of buffers, then a learned scale and shift of channels, and a scale of all."""
    parts = {"mean": torch.rand(1, 3, 1, 1), "conv": nn.Conv2d(3, 6, 3), "head": nn.Linear(6, 4)}
    scales = {"scale": nn.Parameter(torch.zeros(1, 6, 1, 1)), "shift": nn.Parameter(torch.zeros(6, 1, 1))}

    def run(m: Forward, x: Tensor) -> Tensor:
        y = m.conv((x - m.mean) / 0.3) * m.scale + m.shift
        return m.head(2 * y.tanh().mean((2, 3)))

    return ready(Forward(run, **parts, **scales))


def squeeze_excitation() -> Net:
    """Channels scaled by what two small convolutions make of their means."""
    parts = {"conv": nn.Conv2d(3, 6, 3), "down": nn.Conv2d(6, 2, 1), "up": nn.Conv2d(2, 6, 1), "head": nn.Linear(6, 4)}

    def run(m: Forward, x: Tensor) -> Tensor:
        y = m.conv(x)
        y = y * m.up(m.down(y.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return m.head(y.amax((2, 3)))

    return ready(Forward(run, **parts))


def concatenated() -> Net:
    """Two streams of 4 and 3 channels side by side, normalised together, seen by a convolution and by a classifier."""
    parts = {"a": nn.Conv2d(3, 4, 3), "b": nn.Conv2d(3, 3, 3), "norm": nn.BatchNorm2d(7), "c": nn.Conv2d(7, 5, 3)}
    head = nn.Linear((7 + 5) * 16, 4)

    def run(m: Forward, x: Tensor) -> Tensor:
        both = m.norm(torch.cat([m.a(x).relu(), m.b(x)], 1))
        return m.head(torch.cat([both[:, :, 1:-1, 1:-1], m.c(both).relu()], 1).flatten(1))

    return ready(Forward(run, **parts, head=head))


def chunked() -> Net:
    """A convolution whose two halves gate each other (a gated linear unit), once by hand and once by operator."""
    parts = {"conv": nn.Conv2d(3, 8, 3), "second": nn.Conv2d(4, 6, 3), "glu": nn.GLU(1), "head": nn.Linear(3 * 16, 4)}

    def run(m: Forward, x: Tensor) -> Tensor:
        left, right = m.conv(x).chunk(2, dim=1)
        return m.head(m.glu(m.second(left * right.sigmoid())).flatten(1))

    return ready(Forward(run, **parts))


def depthwise() -> Net:
    """An inverted residual: expand, one kernel a channel, project, add."""
    wide, deep, narrow = nn.Conv2d(4, 9, 1), nn.Conv2d(9, 9, 3, padding=1, groups=9), nn.Conv2d(9, 4, 1)
    parts = {"stem": nn.Conv2d(3, 4, 3), "wide": wide, "deep": deep, "narrow": narrow, "head": nn.Linear(4, 3)}
    run = lambda m, x: m.head((m.narrow(F.relu6(m.deep(F.relu6(m.wide(y := m.stem(x)))))) + y).mean((2, 3)))  # noqa: E731
    return ready(Forward(run, **parts))


def grouped() -> Net:
    """Grouped convolutions and a grouped norm: three groups of two channels."""
    parts = {"stem": nn.Conv2d(3, 6, 3), "mix": nn.Conv2d(6, 9, 3, groups=3), "norm": nn.GroupNorm(3, 9)}
    run = lambda m, x: m.head(m.norm(m.mix(m.stem(x).relu())).relu().flatten(1))  # noqa: E731
    return ready(Forward(run, **parts, head=nn.Linear(9 * 16, 4)))


class Attention(nn.Module):
    """Two heads of four units: softmax(q k^T) v."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(6, 24), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(n, tokens, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-2, -1) / 2).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, tokens, 8))


def transformer() -> Net:
    """Patches, learned positions, one pre-norm attention block and one MLP block, the mean of the tokens."""
    parts = {
        "patch": nn.Conv2d(3, 6, 4, 4),
        "norm1": nn.LayerNorm(6),
        "attention": Attention(),
        "norm2": nn.LayerNorm(6),
    }
    ends = {"up": nn.Linear(6, 10), "down": nn.Linear(10, 6), "head": nn.Linear(6, 3)}

    def run(m: Forward, x: Tensor) -> Tensor:
        x = m.patch(x).flatten(2).transpose(1, 2) + m.position
        x = x + m.attention(m.norm1(x))
        x = x + m.down(F.gelu(m.up(m.norm2(x))))
        return m.head(x.mean(1))

    return ready(Forward(run, **parts, **ends, position=nn.Parameter(torch.zeros(1, 4, 6))))


def maxout() -> Net:
    """Channels given twice, then the larger of every two neighbours: pairs move, and the two of a pair."""
    parts = {"conv": nn.Conv2d(3, 6, 3), "mix": nn.Conv2d(12, 8, 1), "head": nn.Linear(4, 3)}

    def run(m: Forward, x: Tensor) -> Tensor:
        y = m.mix(m.conv(x).tanh().repeat(1, 2, 1, 1))
        return m.head(y.unflatten(1, (4, 2)).amax(2).mean((2, 3)))

    return ready(Forward(run, **parts))


def weight_normalised() -> Net:
    """A linear layer whose rows are kept as length and direction."""
    hidden = nn.utils.parametrizations.weight_norm(nn.Linear(6, 5))
    return ready(nn.Sequential(hidden, nn.ReLU(), nn.Linear(5, 3)), (6,))


def single_unit() -> Net:
    """A hidden layer of one unit, which nothing can permute."""
    return ready(nn.Sequential(nn.Linear(6, 1), nn.Tanh(), nn.Linear(1, 5), nn.ReLU(), nn.Linear(5, 3)), (6,))


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu-in-place": partial(nn.ReLU, inplace=True), "relu6": nn.ReLU6, "gelu": nn.GELU, "silu": nn.SiLU,
    "hardswish": nn.Hardswish, "hardswish-in-place": partial(nn.Hardswish, inplace=True), "hardsigmoid": nn.Hardsigmoid,
    "elu": nn.ELU, "selu": nn.SELU, "celu": nn.CELU, "softplus": nn.Softplus, "softsign": nn.Softsign, "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid, "log-sigmoid": nn.LogSigmoid, "leaky-relu": nn.LeakyReLU, "mish": nn.Mish,
    "hardtanh": nn.Hardtanh, "hardshrink": nn.Hardshrink, "softshrink": nn.Softshrink, "tanhshrink": nn.Tanhshrink,
    "threshold": partial(nn.Threshold, 0.1, 0.0), "rrelu": nn.RReLU, "softmax": partial(nn.Softmax, dim=1),
    "prelu": nn.PReLU, "prelu-per-channel": partial(nn.PReLU, 6),
}  # fmt: skip
POOLS: dict[str, Callable[[], nn.Module]] = {
    "max": partial(nn.MaxPool2d, 2), "average": partial(nn.AvgPool2d, 2),
    "adaptive-max": partial(nn.AdaptiveMaxPool2d, 4), "adaptive-average": partial(nn.AdaptiveAvgPool2d, 4),
    "upsample": partial(nn.Upsample, scale_factor=2),
}  # fmt: skip
_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d, "group1": partial(nn.GroupNorm, 1), "layer": ChannelLayerNorm,
    "instance": partial(nn.InstanceNorm2d, affine=True),
}  # fmt: skip

NETS: dict[str, Callable[[], Net]] = {
    "mlp": mlp, "cnn": cnn, "cnn-batch": partial(cnn, nn.BatchNorm2d), "cnn-instance": partial(cnn, _NORMS["instance"]),
    **{f"pool-{name}": partial(cnn, None, pool) for name, pool in POOLS.items()},
    **{f"act-{name}": partial(activated, act) for name, act in ACTIVATIONS.items()},
    "residual-batch": residual, "residual-group1": partial(residual, _NORMS["group1"]),
    "residual-layer": partial(residual, _NORMS["layer"]), "residual-pad": partial(residual, shortcut="pad"),
    "residual-cat": partial(residual, shortcut="cat"), "used-twice": used_twice, "tied": tied, "normalised": normalised,
    "squeeze-excitation": squeeze_excitation, "concatenated": concatenated, "chunked": chunked, "depthwise": depthwise,
    "grouped": grouped, "transformer": transformer, "maxout": maxout, "weight-norm": weight_normalised,
    "single-unit": single_unit,
    **{name: build for entries in (OPERATORS, RECURRENT, TOKENS) for name, (build, _) in entries.items()},
}  # fmt: skip
NEW_SIZES = {name: sizes for entries in (OPERATORS, RECURRENT, TOKENS) for name, (_, sizes) in entries.items()}
