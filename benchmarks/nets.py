"""Shipped networks and images that the benchmarks run on."""

from __future__ import annotations

import torch
from torch import nn

from merging.network.data import Batches, as_batches
from merging.zoo.architectures import build
from merging.zoo.catalogue import FOLDER
from merging.zoo.checkpoints.checkpoint import load_checkpoint
from merging.zoo.datasets import load as datasets

PAIRS = {"MLP 3×512": "fashion-mlp-512", "CNN": "fashion-cnn", "ResNet": "fashion-resnet"}


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    """Both seeds of a shipped network, such as "fashion-cnn", in eval mode."""
    first, second = (load_checkpoint(FOLDER / f"{name}-s{seed}.safetensors").build() for seed in (0, 1))
    return first, second


def drawn(architecture: str, count: int) -> tuple[tuple[nn.Module, nn.Module], Batches]:
    """Two untrained networks of a built-in architecture, and `count` colour images (32×32) of noise.

    The cost of a pass does not depend on training.
    """
    torch.set_num_threads(1)
    first, second = (build(architecture, {}, seed=seed) for seed in (0, 1))
    noise = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return (first, second), as_batches((noise, torch.zeros(count, dtype=torch.int64)))


def images(count: int, split: str = "test", dataset: str = "fashion-mnist") -> Batches:
    """The first images of a shipped data set in batches of 500, on one thread."""
    torch.set_num_threads(1)  # the benchmark machines are shared
    loaded = datasets.load_split(dataset, split, count)  # type: ignore[arg-type]
    return as_batches((loaded.images, loaded.labels))
