"""MLPs in which every hidden unit learns its own nonlinearity.

`layers.0` is the first linear layer, `layers.1` the nonlinearities of its units, and so on.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from merging.zoo.architectures.declared import Declared
from merging.zoo.architectures.mlp import MLP

GAIN, SATURATION = 2.0, 0.3  # of every unit before training: a soft bend, which training can sharpen or flatten


class LearnedNonlinearity(nn.Module):
    """gamma(x; n, s) = (1 - s) log(1 + exp(n x)) / n + s sigmoid(n x), with a gain n and a saturation s per unit.

    s = 0 gives a softplus, which approaches a ReLU at high gain; s = 1 gives a sigmoid. The parameters are
    `log_gain` = log n and `saturation_logit` = log(s / (1 - s)), (units,) each. With them, n is positive and s between
    0 and 1 for any values that training or a merge gives them.
    Source: Geadah, Kerg, Horoi, Wolf, Lajoie 2020, "Advantages of biologically-inspired adaptive neural activation in
    RNNs during learning", eq. 1.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.full((units,), math.log(GAIN)))
        self.saturation_logit = nn.Parameter(torch.full((units,), math.log(SATURATION / (1 - SATURATION))))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the nonlinearities to x (..., units); the shape does not change."""
        gain, saturation = self.log_gain.exp(), self.saturation_logit.sigmoid()
        scaled = gain * x
        return (1 - saturation) * softplus(scaled) / gain + saturation * scaled.sigmoid()


def adaptive(
    *,
    mean: Sequence[float],
    std: Sequence[float],
    widths: Sequence[int],
    in_shape: Sequence[int] = (1, 28, 28),
    classes: int = 10,
) -> nn.Module:
    """Build an MLP with learned nonlinearities and hidden layers of these widths, for images of in_shape (c, h, w)."""
    return MLP(widths, in_shape, classes, LearnedNonlinearity, mean, std)


LABELS = {
    "adaptive": ("Adaptive MLP", "An MLP whose hidden units each learn their nonlinearity: a gain and a saturation.")
}
BUILT = {"adaptive": Declared(adaptive)}
