"""A person's own images for use from Python, without keeping them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from merging.zoo.datasets.convert import convert_images
from merging.zoo.datasets.own import beside, own_images

if TYPE_CHECKING:
    from merging.network.data import Batches


@dataclass(frozen=True)
class LabelledImages:
    """Images by class, read once. train, test: batches of float images in 0..1 (n, channels, height, width) and labels.

    shape: (channels, height, width).  mean, std: per channel of the training images in 0..1.  notes: what was changed
    and left out, a sentence each.  id: names the content, "own-" and 12 hexadecimal digits.
    """

    train: Batches
    test: Batches
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...]
    id: str


def load_images(
    path: str | Path, *, size: tuple[int, int] | None = None, colour: str = "auto", batch: int = 500
) -> LabelledImages:
    """Read a folder or zip of images by class (train/cat/1.png, or cat/1.png), or an .npz with images and labels.

    size: (height, width) that images are brought to, the most common one for None.  colour: "auto", "grey", "colour".
    batch: images per batch.  Where there is no test folder, a fifth of each class is drawn for testing, by seed 0.
    Raises DataUnavailable naming what is wrong with the images, InvalidSetting for a setting.
    """
    import torch

    from merging.network.data import Batches

    with tempfile.TemporaryDirectory(prefix="mergescope-") as scratch:
        dataset = convert_images(Path(path), Path(scratch), size=size, colour=colour)
        with beside(Path(scratch)):
            splits = [own_images(dataset.id, split) for split in ("train", "test")]
    train, test = (Batches(torch.from_numpy(s.images), torch.from_numpy(s.labels), batch) for s in splits)
    facts = dataset.facts
    return LabelledImages(train, test, facts.classes, facts.shape, facts.mean, facts.std, dataset.notes, dataset.id)
