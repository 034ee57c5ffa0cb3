"""Images in [0, 1] become standardised channels: the first layer of built-in nets, and a first step for others."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

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


def normalised(net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """The same module, which now standardises its input (n, channels, ...) first: (x - mean) / std per channel.

    Its state dict keeps its names. Mean 0 and std 1 change nothing.
    """
    if not any(mean) and all(value == 1 for value in std):
        return net
    shape = (1, -1, 1, 1)
    net.register_buffer("_input_mean", torch.tensor(mean, dtype=torch.float32).view(shape), persistent=False)
    net.register_buffer("_input_std", torch.tensor(std, dtype=torch.float32).view(shape), persistent=False)
    net.register_forward_pre_hook(_standardise)
    return net


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], *, assign: bool = False) -> nn.Module:
    """The module with all of these tensors, in eval mode. assign: the tensors themselves, in place of copies.

    They are taken for tensors of the module's own version, which some networks of torchvision ask for. Raises
    RuntimeError where names or shapes differ.
    """
    ordered = OrderedDict(state)
    ordered._metadata = getattr(module.state_dict(), "_metadata", {})  # type: ignore[attr-defined]
    module.load_state_dict(ordered, assign=assign)
    return module.eval()


def _standardise(net: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    mean, std = net.get_buffer("_input_mean"), net.get_buffer("_input_std")
    return ((inputs[0] - mean) / std, *inputs[1:])
