"""Vectorised augmentations. Each maps images (n, C, H, W) uint8 and a random generator to images of the same shape."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

MARGIN = 4  # pixels of zero padding before a random crop, as is usual for CIFAR


def none(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the images (n, C, H, W) unchanged."""
    return images


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each of the images (n, C, H, W) left to right with probability 1/2."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)


def flip_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Apply `random_flip`, then shift each image (n, C, H, W) by up to MARGIN pixels per axis; new pixels are black."""
    count, channels, height, width = images.shape
    padded = pad(random_flip(images, generator), (MARGIN,) * 4)
    down, right = torch.randint(0, 2 * MARGIN + 1, (2, count, 1), generator=generator)
    rows, columns = down + torch.arange(height), right + torch.arange(width)
    n, c = torch.arange(count).view(-1, 1, 1, 1), torch.arange(channels).view(1, -1, 1, 1)
    return padded[n, c, rows[:, None, :, None], columns[:, None, None, :]]


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "none": none,
    "flip": random_flip,
    "flip-crop": flip_crop,
}
