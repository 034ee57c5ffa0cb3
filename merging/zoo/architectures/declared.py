"""Declaration of an architecture by the module of this folder that builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True)
class Declared:
    """Declaration of one architecture: the value under the architecture's key in the table `BUILT` of its module.

    The module's table `LABELS` holds the label under the same key. That table is a literal, so that `names` can read it
    without importing torch.

    Attributes:
        build: function that builds a network from keyword arguments, including mean and std.
        choices: setting -> its allowed words, for settings that take words and that a state dict shows.
    """

    build: Callable[..., nn.Module]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
