"""The plain, VGG-like convolutional net: the smallest image net on which naive averaging fails and matching works."""

from collections.abc import Sequence

from torch import Tensor, nn

from merging.zoo.architectures.nonlinearity import MODULES
from merging.zoo.architectures.normalise import Normalise

POOLED = 3  # a 28- or 32-pixel image is 3 or 4 pixels wide after three halvings; a fourth would leave one


class PlainCNN(nn.Module):
    """3×3 convolutions with a nonlinearity, three max pools, a global average and one linear layer."""

    def __init__(
        self,
        widths: Sequence[int],
        channels: int,
        classes: int,
        batch_norm: bool,
        nonlinearity: str,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        features: list[nn.Module] = []
        for depth, width in enumerate(widths):
            features.append(nn.Conv2d(channels, width, 3, padding=1, bias=not batch_norm))
            features += [nn.BatchNorm2d(width)] if batch_norm else []
            features.append(MODULES[nonlinearity]())
            features += [nn.MaxPool2d(2)] if depth < POOLED else []
            channels = width
        self.features = nn.Sequential(*features)
        self.pool = nn.AdaptiveAvgPool2d(1)
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
) -> nn.Module:
    """A plain CNN with one convolution a width, for images of in_shape (channels, height, width)."""
    return PlainCNN(widths, in_shape[0], classes, norm == "batch", nonlinearity, mean, std)
