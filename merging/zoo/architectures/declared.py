"""How a file of this folder declares the architectures that it builds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True)
class Declared:
    """An architecture, under its key in the table `BUILT` of its file.

    The file's table `LABELS` has its label under the same key. It is a literal, which `names` reads without torch.

    Attributes:
        build: builds a network from keyword arguments, mean and std among them.
        choices: setting -> its allowed words, where it takes words that a state dict shows.
    """

    build: Callable[..., nn.Module]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
