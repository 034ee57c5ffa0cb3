"""The fixed first layer of every built-in net: images in [0, 1] become standardised channels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from merging.errors import InvalidSetting


class Normalise(nn.Module):
    """(x - mean) / std for each channel.

    The two buffers are not persistent: a state dict keeps the keys that it had where it was trained, and mean and std
    travel in the checkpoint's metadata instead.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise InvalidSetting(f"mean and std need one value a channel and std above 0; got {mean} and {std}")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, channels, height, width) in [0, 1] to the same shape, standardised."""
        return (images - self.mean) / self.std
