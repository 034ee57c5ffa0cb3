"""What stands between the layers of a net without branches: a state dict does not say it, so a person may."""

from collections.abc import Callable

from torch import nn

MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,  # with torch's default slope, .01
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
