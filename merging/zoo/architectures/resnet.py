"""Residual networks of basic blocks: a small one with free widths, and the CIFAR ResNet-20/32/44/56.

Source: He et al. 2015 (arXiv:1512.03385), section 4.2. Two public code bases are in common use. One names its layers
`shortcut` and `linear`, the other `downsample` and `fc`. The settings `projection` and `head` choose between them.
"""

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from merging.errors import InvalidSetting
from merging.zoo.architectures.cnn import GLOBAL_POOLS
from merging.zoo.architectures.declared import Declared
from merging.zoo.architectures.nonlinearity import MODULES
from merging.zoo.architectures.normalise import Normalise


class PadShortcut(nn.Module):
    """Shortcut of the paper's option A: every stride-th pixel, with zero channels on both sides; no parameters."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (width - channels) // 2
        self.after = width - channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, width, h / stride, w / stride)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


def _norm(kind: str, width: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(width)
    return nn.GroupNorm(1, width) if kind == "layer" else nn.Identity()


def _shortcut(kind: str, norm: str, channels: int, width: int, stride: int) -> nn.Module:
    if stride == 1 and channels == width:
        return nn.Identity()
    if kind == "pad":
        return PadShortcut(channels, width, stride)
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=norm == "none"), _norm(norm, width))


class Block(nn.Module):
    """Basic block: f(shortcut(x) + norm(conv(f(norm(conv(x)))))) with the nonlinearity f (ReLU in the paper)."""

    def __init__(
        self, channels: int, width: int, stride: int, norm: str, shortcut: str, projection: str, nonlinearity: str
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=norm == "none")
        self.bn1 = _norm(norm, width)
        self.relu1 = MODULES[nonlinearity]()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=norm == "none")
        self.bn2 = _norm(norm, width)
        self.projection = projection
        self.add_module(projection, _shortcut(shortcut, norm, channels, width, stride))
        self.relu2 = MODULES[nonlinearity]()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, width, h / stride, w / stride)."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(inner + self.get_submodule(self.projection)(x))


class ResNet(nn.Module):
    """A 3×3 stem, stages `layer1`, `layer2`, ... of blocks, a global pool and one linear layer."""

    def __init__(
        self,
        stem: nn.Conv2d,
        norm: str,
        stages: Sequence[nn.Module],
        head: str,
        last: nn.Linear,
        first: Normalise,
        nonlinearity: str,
        pool: nn.Module | None,
        global_pool: str,
    ) -> None:
        super().__init__()
        self.normalise = first
        self.conv1 = stem
        self.bn1 = _norm(norm, stem.out_channels)
        self.relu = MODULES[nonlinearity]()
        self.maxpool = pool
        self.stages = [f"layer{number}" for number in range(1, len(stages) + 1)]
        for name, stage in zip(self.stages, stages, strict=True):
            self.add_module(name, stage)
        self.pool = GLOBAL_POOLS[global_pool](1)
        self.flatten = nn.Flatten(1)
        self.head = head
        self.add_module(head, last)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, channels, height, width) in [0, 1] to logits (n, classes)."""
        x = self.relu(self.bn1(self.conv1(self.normalise(images))))
        x = x if self.maxpool is None else self.maxpool(x)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return self.get_submodule(self.head)(self.flatten(self.pool(x)))


def _stages(
    widths: Sequence[int], blocks: Sequence[int], norm: str, shortcut: str, projection: str, nonlinearity: str
) -> list[nn.Sequential]:
    stages, channels = [], widths[0]
    for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        halve = number > 0
        # Identity shortcuts cannot have a stride, so such stages begin with a pool that halves both branches' input.
        pooled: list[nn.Module] = [nn.MaxPool2d(2)] if halve and shortcut == "identity" else []
        strides = [2 if halve and not pooled else 1] + [1] * (count - 1)
        inputs = [channels] + [width] * (count - 1)
        own = (norm, shortcut, projection, nonlinearity)
        body = [Block(n, width, s, *own) for n, s in zip(inputs, strides, strict=True)]
        stages.append(nn.Sequential(*pooled, *body))
        channels = width
    return stages


def resnet(
    *,
    mean: Sequence[float],
    std: Sequence[float],
    widths: Sequence[int] = (16, 32, 64),
    blocks: Sequence[int] = (1, 1, 1),
    norm: str = "batch",
    shortcut: str = "conv",
    head: str = "fc",
    projection: str = "shortcut",
    in_shape: Sequence[int] = (1, 28, 28),
    classes: int = 10,
    nonlinearity: str = "relu",
    stem: str = "plain",
    global_pool: str = "avg",
) -> nn.Module:
    """Build a residual network with one stage per width. blocks: the number of basic blocks per stage.

    stem: "plain", "pool" (followed by a 3×3 max pool of stride 2) or "stride" (a convolution of stride 2).
    Raises InvalidSetting when blocks and widths differ in length, or when widths decrease with padded shortcuts or
    differ with identity shortcuts.
    """
    if len(widths) != len(blocks):
        raise InvalidSetting(f"blocks needs one number per stage: {len(widths)} widths, {len(blocks)} numbers")
    if shortcut == "identity" and len(set(widths)) > 1:
        raise InvalidSetting("identity shortcuts need the same width in every stage; choose conv or pad")
    if shortcut == "pad" and list(widths) != sorted(widths):
        raise InvalidSetting("zero-padded shortcuts need widths that never decrease; choose conv")
    first = nn.Conv2d(in_shape[0], widths[0], 3, 2 if stem == "stride" else 1, 1, bias=norm == "none")
    stages = _stages(widths, blocks, norm, shortcut, projection, nonlinearity)
    pool = nn.MaxPool2d(3, 2, 1) if stem == "pool" else None
    last, normalise = nn.Linear(widths[-1], classes), Normalise(mean, std)
    return ResNet(first, norm, stages, head, last, normalise, nonlinearity, pool, global_pool)


def _cifar(
    depth: int,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    width: int = 16,
    shortcut: str = "pad",
    head: str = "linear",
    projection: str = "shortcut",
    in_shape: Sequence[int] = (3, 32, 32),
    classes: int = 10,
    nonlinearity: str = "relu",
    global_pool: str = "avg",
) -> nn.Module:
    """Build the CIFAR ResNet of this depth (6n + 2). width: width of the first stage; 16 in the paper, 64 for "4x"."""
    widths, blocks = (width, 2 * width, 4 * width), ((depth - 2) // 6,) * 3
    names = {"head": head, "projection": projection, "nonlinearity": nonlinearity, "global_pool": global_pool}
    return resnet(
        mean=mean, std=std, widths=widths, blocks=blocks, shortcut=shortcut, in_shape=in_shape, classes=classes, **names
    )


NAMES = {"head": ("fc", "linear"), "projection": ("shortcut", "downsample")}
SMALL = {"norm": ("batch", "layer", "none"), "shortcut": ("conv", "pad", "identity"), **NAMES}
LABELS = {
    "resnet": (
        "Small residual net",
        "Basic residual blocks in stages; norm and kind of shortcut can be chosen.",
        ("nonlinearity", "stem", "global_pool"),
    ),
    "resnet20": (
        "ResNet-20 (CIFAR)",
        "Three stages of three basic blocks, 16-32-64 channels.",
        ("nonlinearity", "global_pool"),
    ),
    "resnet32": (
        "ResNet-32 (CIFAR)",
        "Three stages of five basic blocks, 16-32-64 channels.",
        ("nonlinearity", "global_pool"),
    ),
    "resnet44": (
        "ResNet-44 (CIFAR)",
        "Three stages of seven basic blocks, 16-32-64 channels.",
        ("nonlinearity", "global_pool"),
    ),
    "resnet56": (
        "ResNet-56 (CIFAR)",
        "Three stages of nine basic blocks, 16-32-64 channels.",
        ("nonlinearity", "global_pool"),
    ),
}
BUILT = {
    "resnet": Declared(resnet, SMALL),
    **{
        f"resnet{depth}": Declared(partial(_cifar, depth), {"shortcut": ("pad", "conv"), **NAMES})
        for depth in (20, 32, 44, 56)
    },
}
