"""The images that a command measures on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from merging.cli.nets import Net
from merging.errors import DataUnavailable, InvalidRequest
from merging.work.images import load_images
from merging.work.request_checks import BOUNDS
from merging.zoo.datasets import ImageSet, facts

if TYPE_CHECKING:
    from merging.data import Batches


def dataset_of(options: argparse.Namespace, net: Net) -> str:
    """The data set asked for, or the one the net was trained on; "" where neither is known."""
    return options.data or net.checkpoint.dataset


def read_images(options: argparse.Namespace, net: Net) -> dict[str, ImageSet]:
    """Split -> images; {} where no data set is named. Raises DataUnavailable where they are not on this machine."""
    low, high = BOUNDS["images"]
    if not low <= options.images <= high:
        raise InvalidRequest(f"--images must be from {low} to {high}; got {options.images}.")
    name = dataset_of(options, net)
    found = load_images(name, options.images)
    if options.data and not found:
        raise DataUnavailable(
            f"{facts(name).label} is not on this machine: run `python -m merging download {name}`, "
            "or set MERGESCOPE_DATA to a folder that holds it."
        )
    return found


def need_batches(options: argparse.Namespace, net: Net, device: str) -> dict[str, Batches]:
    """Split -> batches on the device. Raises DataUnavailable where there are no images to measure on."""
    import torch

    from merging.work.task_tools import batches

    found = read_images(options, net)
    if not found:
        known = dataset_of(options, net)
        told = f"The images of {known} are not on this machine" if known else "The data set is not known"
        raise DataUnavailable(f"{told}. Name one with --data; `python -m merging download NAME` fetches it.")
    return {split: batches(images, torch.device(device)) for split, images in found.items()}
