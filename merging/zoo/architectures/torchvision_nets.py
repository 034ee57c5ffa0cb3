"""torchvision's ResNet-18 and ResNet-50, with a fixed normalisation layer in front."""

from collections.abc import Sequence

from torch import Tensor, nn

from merging.zoo.architectures.normalise import Normalise
from merging.zoo.torchvision_import import torchvision

_resnet = torchvision.models.resnet


class NormalisedResNet(_resnet.ResNet):  # type: ignore[name-defined, misc]
    """torchvision's ResNet for images in [0, 1]. Its state-dict keys are unchanged."""

    def __init__(
        self, block: type[nn.Module], layers: Sequence[int], classes: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(block, list(layers), num_classes=classes)
        self.normalise = Normalise(mean, std)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, height, width) in [0, 1] to logits (n, classes)."""
        return super().forward(self.normalise(images))


def resnet18(mean: Sequence[float], std: Sequence[float], classes: int) -> nn.Module:
    """ResNet-18: two basic blocks in each of four stages."""
    return NormalisedResNet(_resnet.BasicBlock, (2, 2, 2, 2), classes, mean, std)


def resnet50(mean: Sequence[float], std: Sequence[float], classes: int) -> nn.Module:
    """ResNet-50: 3, 4, 6 and 3 bottleneck blocks."""
    return NormalisedResNet(_resnet.Bottleneck, (3, 4, 6, 3), classes, mean, std)


LABELS = {
    "tv_resnet18": ("ResNet-18 (torchvision)", "torchvision's own ResNet-18 for large images."),
    "tv_resnet50": ("ResNet-50 (torchvision)", "torchvision's own ResNet-50 with bottleneck blocks."),
}
