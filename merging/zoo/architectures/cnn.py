"""A plain VGG-like convolutional net: the smallest image network on which naive averaging fails and matching works."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from merging.zoo.architectures.declared import Declared
from merging.zoo.architectures.nonlinearity import MODULES
from merging.zoo.architectures.normalise import Normalise

_POOLS: dict[str, Callable[[], nn.Module]] = {
    "max": partial(nn.MaxPool2d, 2),
    "avg": partial(nn.AvgPool2d, 2),
    "stride": nn.Identity,
}
GLOBAL_POOLS = {"avg": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}
POOLED = 3  # number of pools: images of 28 or 32 pixels become 3 or 4 pixels wide; a fourth pool would leave 1 or 2


class PlainCNN(nn.Module):
    """3×3 convolutions with nonlinearities, pools in the first three layers, a global pool and one linear layer.

    pool: "max" or "avg" (2×2, after the nonlinearity), or "stride" (convolutions of stride 2 in place of the pools).
    padding: "same" or "valid".  global_pool: "avg" or "max".
    """

    def __init__(
        self,
        widths: Sequence[int],
        channels: int,
        classes: int,
        batch_norm: bool,
        nonlinearity: str,
        mean: Sequence[float],
        std: Sequence[float],
        pool: str,
        padding: str,
        global_pool: str,
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        features: list[nn.Module] = []
        for depth, width in enumerate(widths):
            halved = depth < POOLED
            stride = 2 if halved and pool == "stride" else 1
            features.append(nn.Conv2d(channels, width, 3, stride, int(padding == "same"), bias=not batch_norm))
            features += [nn.BatchNorm2d(width)] if batch_norm else []
            features.append(MODULES[nonlinearity]())
            features += (
                [_POOLS[pool]()] if halved else []
            )  # nn.Identity for "stride", so that layer names stay the same
            channels = width
        self.features = nn.Sequential(*features)
        self.pool = GLOBAL_POOLS[global_pool](1)
        self.flatten = nn.Flatten(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, channels, height, width) in [0, 1] to logits (n, classes)."""
        return self.classifier(self.flatten(self.pool(self.features(self.normalise(images)))))


def cnn(
    *,
    mean: Sequence[float],
    std: Sequence[float],
    widths: Sequence[int],
    norm: str = "none",
    in_shape: Sequence[int] = (1, 28, 28),
    classes: int = 10,
    nonlinearity: str = "relu",
    pool: str = "max",
    padding: str = "same",
    global_pool: str = "avg",
) -> nn.Module:
    """Build a plain CNN with one convolution per width, for images of in_shape (channels, height, width)."""
    norms = norm == "batch"
    return PlainCNN(widths, in_shape[0], classes, norms, nonlinearity, mean, std, pool, padding, global_pool)


LABELS = {
    "cnn": (
        "Plain CNN",
        "3×3 convolutions, three max pools, global average, one linear layer.",
        ("nonlinearity", "pool", "padding", "global_pool"),
    )
}
BUILT = {"cnn": Declared(cnn, {"norm": ("none", "batch")})}
