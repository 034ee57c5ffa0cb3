"""The images that a command measures on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from merging.cli.nets import Net
from merging.errors import DataUnavailable
from merging.zoo.datasets.facts import FACTS
from merging.zoo.datasets.fingerprint import load_images
from merging.zoo.datasets.load import ImageSet

if TYPE_CHECKING:
    from merging.data import Batches


def dataset_of(options: argparse.Namespace, net: Net) -> str:
    """The data set asked for, or the one the net was trained on; "" where neither is known."""
    return options.data or net.checkpoint.dataset


def read_images(options: argparse.Namespace, net: Net) -> dict[str, ImageSet]:
    """Split -> images; {} where no data set is named. Raises DataUnavailable where they are not on this machine."""
    name = dataset_of(options, net)
    found = load_images(name, options.images)
    if options.data and not found:
        raise DataUnavailable(no_images(options, net))
    return found


def no_images(options: argparse.Namespace, net: Net) -> str:
    """Why there are no images, and what to do."""
    name = dataset_of(options, net)
    if name not in FACTS:
        return "It is not known which images these networks were trained on: name the data set with --data."
    fetch = f"run `python -m merging download {name}`, or set MERGESCOPE_DATA to a folder that holds it"
    return f"{FACTS[name].label} is not on this machine: {fetch}."


def need_images(options: argparse.Namespace, net: Net) -> dict[str, ImageSet]:
    """Split -> images. Raises DataUnavailable where there are none to measure on."""
    found = read_images(options, net)
    if not found:
        raise DataUnavailable(no_images(options, net))
    return found


def need_batches(options: argparse.Namespace, net: Net, device: str) -> dict[str, Batches]:
    """Split -> batches on the device. Raises DataUnavailable where there are no images to measure on."""
    import torch

    from merging.work.task_tools import batches

    return {split: batches(images, torch.device(device)) for split, images in need_images(options, net).items()}
