"""Random inputs for tracing a checkpoint's network when there are no images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from merging.zoo.architectures.names import is_torchvision
from merging.zoo.datasets.known import find_facts

SMALL, LARGE = (32, 32), (128, 128)  # height and width for a network that takes any size, if no data set is known


def example_images(architecture: str, config: Mapping[str, Any], dataset: str, channels: int) -> Tensor:
    """Draw two random inputs with a fixed seed: images (2, C, H, W) in 0..1, or tokens (2, ...) int64.

    dataset: name of the training data set, or "".  channels: the number of values in mean and std.
    """
    facts = find_facts(dataset)
    known = facts.shape if facts is not None else None
    free = (max(3, channels), *(LARGE if is_torchvision(architecture) else SMALL))
    shape = tuple(config.get("in_shape") or known or free)
    generator = torch.Generator().manual_seed(0)
    if "tokens" in config:
        return torch.randint(0, config["tokens"], (2, *shape), generator=generator)
    return torch.rand((2, *shape), generator=generator)
