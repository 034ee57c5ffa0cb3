"""Nonlinearities of the built-in architectures, by name. A state dict does not record them, so users can choose."""

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
