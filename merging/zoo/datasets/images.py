"""Load your own images in Python, without storing them as a data set."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from merging.zoo.datasets.convert import convert_images
from merging.zoo.datasets.known import facts as facts_of
from merging.zoo.datasets.load import load_split
from merging.zoo.datasets.own import own_images, with_folder

if TYPE_CHECKING:
    from merging.network.data import Batches


@dataclass(frozen=True)
class LabelledImages:
    """Labelled images, held in memory.

    Attributes:
        train, test: batches of float images in 0..1 (n, channels, height, width) and labels (n,).
        classes: the names of the classes, by label.
        shape: (channels, height, width).
        mean, std: one value per channel, over the training images scaled to 0..1.
        notes: remarks on images that were changed or left out, one sentence each.
        id: the name of the data set, or "own-" and 12 hexadecimal digits of the content's hash.
    """

    train: Batches
    test: Batches
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...]
    id: str


def load_dataset(name: str, count: int | None = None, *, batch: int = 500) -> LabelledImages:
    """Load the first `count` images of each split of a data set by its name (None: all).

    name: such as "fashion-mnist", or the id of own images that are stored on this machine ("own-...").
    Raises InvalidSetting for an unknown name, DataUnavailable if the images are not on this machine.
    """
    import torch

    from merging.network.data import Batches

    facts = facts_of(name)
    splits = {}
    for split in ("train", "test"):
        images = load_split(name, split, count)  # type: ignore[arg-type]
        # torch warns of arrays that are read-only, as those of whole files are.
        pixels, labels = (np.require(array, requirements="W") for array in (images.images, images.labels))
        splits[split] = Batches(torch.from_numpy(pixels), torch.from_numpy(labels), batch)
    return LabelledImages(
        **splits, classes=facts.classes, shape=facts.shape, mean=facts.mean, std=facts.std, notes=(), id=name
    )


def load_images(
    path: str | Path, *, size: tuple[int, int] | None = None, colour: str = "auto", batch: int = 500
) -> LabelledImages:
    """Read a folder or zip of images sorted by class, or an .npz with images and labels.

    Without test images, a fifth of each class becomes the test split, drawn with seed 0.

    Args:
        path: a folder or zip with train/cat/1.png and test/dog/2.png, or with cat/1.png alone; or an .npz.
        size: (height, width) that all images are resized to; None for the most common size.
        colour: "grey" (one channel), "colour" (three), or "auto": grey if all images are.
        batch: images per batch.
    Raises:
        DataUnavailable: when the images cannot be read; the message says why.
        InvalidSetting: for a size or colour that is not allowed.
    """
    import torch

    from merging.network.data import Batches

    with tempfile.TemporaryDirectory(prefix="mergescope-") as scratch:
        dataset = convert_images(Path(path), Path(scratch), size=size, colour=colour)
        with with_folder(Path(scratch)):
            splits = [own_images(dataset.id, split) for split in ("train", "test")]
    train, test = (Batches(torch.from_numpy(s.images), torch.from_numpy(s.labels), batch) for s in splits)
    facts = dataset.facts
    return LabelledImages(train, test, facts.classes, facts.shape, facts.mean, facts.std, dataset.notes, dataset.id)
