"""VGG with torchvision's tensor names, without in-place nonlinearities (Simonyan & Zisserman 2014, arXiv:1409.1556)."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from merging.zoo.architectures.declared import Declared
from merging.zoo.architectures.nonlinearity import MODULES
from merging.zoo.architectures.normalise import Normalise

# Widths of the convolutions in configurations A and D of the paper's table 1; 0 is a max pool.
PLANS: dict[int, tuple[int, ...]] = {
    11: (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0),
    16: (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0),
}


class VGG(nn.Module):
    """The layers `features`, an adaptive average pool to pooled × pooled pixels, and the head."""

    def __init__(
        self, features: nn.Sequential, pooled: int, head: nn.Module, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(pooled)
        self.flatten = nn.Flatten(1)
        self.classifier = head

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, channels, height, width) in [0, 1] to logits (n, classes)."""
        return self.classifier(self.flatten(self.avgpool(self.features(self.normalise(images)))))


def _features(plan: Sequence[int], channels: int, batch_norm: bool, nonlinearity: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in plan:
        if width == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        layers.append(nn.Conv2d(channels, width, 3, padding=1))
        layers += [nn.BatchNorm2d(width)] if batch_norm else []
        layers.append(MODULES[nonlinearity]())
        channels = width
    return nn.Sequential(*layers)


def _three_layers(inputs: int, hidden: int, classes: int, nonlinearity: str) -> nn.Sequential:
    between = MODULES[nonlinearity]
    first = [nn.Linear(inputs, hidden), between(), nn.Dropout()]
    second = [nn.Linear(hidden, hidden), between(), nn.Dropout()]
    return nn.Sequential(*first, *second, nn.Linear(hidden, classes))


def _vgg(
    depth: int,
    batch_norm: bool,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    head: str = "linear",
    hidden: int = 4096,
    pooled: int = 1,
    in_shape: Sequence[int] = (3, 32, 32),
    classes: int = 10,
    nonlinearity: str = "relu",
) -> nn.Module:
    """Build a VGG. head: "linear" (one layer `classifier`, usual for CIFAR) or "three" (`classifier.0`, `.3`, `.6`).

    torchvision's VGG has head="three", hidden=4096, pooled=7, in_shape=(3, 224, 224), classes=1000.
    """
    plan = PLANS[depth]
    inputs = plan[-2] * pooled * pooled
    last = _three_layers(inputs, hidden, classes, nonlinearity) if head == "three" else nn.Linear(inputs, classes)
    return VGG(_features(plan, in_shape[0], batch_norm, nonlinearity), pooled, last, mean, std)


PLAINS = {"vgg11": (11, False), "vgg11_bn": (11, True), "vgg16": (16, False), "vgg16_bn": (16, True)}
LABELS = {
    "vgg11": ("VGG-11", "Eight convolutions without normalisation, torchvision's key names.", ("nonlinearity",)),
    "vgg11_bn": ("VGG-11 + BN", "VGG-11 with BatchNorm after every convolution.", ("nonlinearity",)),
    "vgg16": ("VGG-16", "Thirteen convolutions without normalisation, torchvision's key names.", ("nonlinearity",)),
    "vgg16_bn": ("VGG-16 + BN", "VGG-16 with BatchNorm after every convolution.", ("nonlinearity",)),
}
BUILT = {key: Declared(partial(_vgg, *plan), {"head": ("linear", "three")}) for key, plan in PLAINS.items()}
