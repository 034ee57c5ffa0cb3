"""Multi-layer perceptrons: `layers.0` is the first linear layer, `layers.1` its nonlinearity, and so on."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from merging.zoo.architectures.declared import Declared
from merging.zoo.architectures.nonlinearity import MODULES
from merging.zoo.architectures.normalise import Normalise


class MLP(nn.Module):
    """Flattening, then linear layers with nonlinearities between them. between: width -> nonlinearity."""

    def __init__(
        self,
        widths: Sequence[int],
        in_shape: Sequence[int],
        classes: int,
        between: Callable[[int], nn.Module],
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.flatten = nn.Flatten(1)
        layers: list[nn.Module] = []
        for wide, narrow in pairwise([prod(in_shape), *widths]):
            layers += [nn.Linear(wide, narrow), between(narrow)]
        layers.append(nn.Linear(widths[-1] if widths else prod(in_shape), classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, channels, height, width) in [0, 1] to logits (n, classes)."""
        return self.layers(self.flatten(self.normalise(images)))


def mlp(
    *,
    mean: Sequence[float],
    std: Sequence[float],
    widths: Sequence[int],
    in_shape: Sequence[int] = (1, 28, 28),
    classes: int = 10,
    nonlinearity: str = "relu",
) -> nn.Module:
    """Build an MLP with hidden layers of these widths, for images of in_shape (channels, height, width)."""
    return MLP(widths, in_shape, classes, lambda width: MODULES[nonlinearity](), mean, std)


LABELS = {"mlp": ("MLP", "Flattened image, linear layers with a nonlinearity between them.", ("nonlinearity",))}
BUILT = {"mlp": Declared(mlp)}
