"""What the small test networks are built of: random weights for any module, and forward passes written as functions."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Net = tuple[nn.Module, Tensor]
IMAGES = (3, 8, 8)


def ready(model: nn.Module, shape: tuple[int, ...] = IMAGES, seed: int = 0) -> Net:
    """The model with random weights and statistics, in eval mode, and two random images of this shape."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            fan = parameter[0].numel() if parameter.dim() > 1 else 1
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise / fan**0.5 if parameter.dim() > 1 else 0.5 + 0.4 * noise)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model.eval(), torch.randn(2, *shape, generator=generator)


def read_tokens(model: nn.Module, length: int, vocabulary: int) -> Net:
    """The model with random weights, in eval mode, and two random rows of `length` tokens."""
    model, _ = ready(model, (length,))
    return model, torch.randint(vocabulary, (2, length), generator=torch.Generator().manual_seed(1))


def exact(example: Tensor) -> Tensor:
    """The example in float64; tokens stay integers."""
    return example.double() if example.is_floating_point() else example


class Forward(nn.Module):
    """Named parts and a forward pass written as a function of them."""

    def __init__(self, run: Callable[["Forward", Tensor], Tensor], **parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            elif isinstance(part, nn.Parameter):
                self.register_parameter(name, part)
            else:
                self.register_buffer(name, part, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def between(run: Callable[[Tensor], Tensor], size: int = 6 * 36) -> Net:
    """A convolution to 6 channels of 6 x 6, then `run`, then a classifier of what comes out."""
    parts = {"conv": nn.Conv2d(3, 6, 3), "head": nn.Linear(size, 4)}
    return ready(Forward(lambda m, x: m.head(run(m.conv(x)).flatten(1)), **parts))
