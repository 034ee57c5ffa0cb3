"""Standardise images in [0, 1] per channel: a first layer of built-in networks, and a pre-hook for other networks."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from merging.errors import CheckpointError, InvalidSetting


class Normalise(nn.Module):
    """Layer that computes (x - mean) / std per channel.

    The two buffers are not persistent, so that state dicts keep the keys of other code bases. A checkpoint stores mean
    and std in its metadata instead.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise InvalidSetting(f"mean and std need one value per channel and std above 0; got {mean} and {std}")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Standardise images (n, channels, height, width) in [0, 1]; the shape does not change."""
        return (images - self.mean) / self.std


def normalised(net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """Make the module standardise its input (n, channels, ...) first: (x - mean) / std per channel. Returns the module.

    The names in its state dict do not change. With mean 0 and std 1 the module is left unchanged.
    """
    if not any(mean) and all(value == 1 for value in std):
        return net
    shape = (1, -1, 1, 1)
    net.register_buffer("_input_mean", torch.tensor(mean, dtype=torch.float32).view(shape), persistent=False)
    net.register_buffer("_input_std", torch.tensor(std, dtype=torch.float32).view(shape), persistent=False)
    net.register_forward_pre_hook(_standardise)
    return net


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], *, assign: bool = False) -> nn.Module:
    """Load a complete state dict into the module; return the module in eval mode.

    assign: use the tensors themselves instead of copies. The state gets the module's own version number, because some
    of torchvision's networks convert states of older versions.
    Raises RuntimeError when names or shapes differ.
    """
    ordered = OrderedDict(state)
    ordered._metadata = getattr(module.state_dict(), "_metadata", {})  # type: ignore[attr-defined]
    module.load_state_dict(ordered, assign=assign)
    return module.eval()


def finite(module: nn.Module) -> nn.Module:
    """Return the module. Raises CheckpointError for a weight with infinity or NaN, which a file may hold as a mask."""
    for name, parameter in module.named_parameters():
        if not torch.isfinite(parameter).all():
            raise CheckpointError(f"{name} holds infinity or NaN. Its training failed; choose an earlier checkpoint.")
    return module


def _standardise(net: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    mean, std = net.get_buffer("_input_mean"), net.get_buffer("_input_std")
    return ((inputs[0] - mean) / std, *inputs[1:])
