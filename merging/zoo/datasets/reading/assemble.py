"""Assembly of decoded images into one data set: order, split, statistics, content hash, and files.

Images are sorted by their hash. This mixes the classes, so that the first images are a fair sample. It also makes the
data set independent of file names and file formats: the same images always give the same data set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from merging.errors import DataUnavailable
from merging.zoo.datasets.reading.gathered import listed_names

FACTS_FILE = "facts.json"
FORMAT = 1
TEST_SHARE, SPLIT_SEED = 0.2, 0
Shape = tuple[int, int, int]


def assemble(
    images: Sequence[NDArray[np.uint8]],
    labels: Sequence[int],
    splits: Sequence[str],
    classes: Sequence[str],
    notes: Iterable[str],
    folder: Path,
    label: str = "",
) -> dict[str, Any]:
    """Write {train,test}-images.npy, {train,test}-labels.npy and facts.json into `folder`; return the facts.

    The `id` in the facts depends only on the images, labels, classes and splits.
    images: each (channels, height, width), all of one shape.  splits: "train" or "test" per image, or "" for all, which
    are then split within each class.  label: display name of the data set.
    Raises DataUnavailable when a class has too few images to be split.
    """
    keys = [hashlib.sha256(image.data).digest() for image in images]
    order = sorted(range(len(images)), key=lambda at: (keys[at], labels[at]))
    remarks = [*notes]
    if "" in splits:
        splits = _split(keys, labels, classes, order)
        remarks.append(
            f"The images had no split: {1 - TEST_SHARE:.0%} of each class are for training and {TEST_SHARE:.0%} for "
            f"testing, drawn with seed {SPLIT_SEED}."
        )
    members = {split: [at for at in order if splits[at] == split] for split in ("train", "test")}
    shape: Shape = images[0].shape
    counts = {split: np.bincount([labels[at] for at in m], minlength=len(classes)) for split, m in members.items()}
    remarks += _remarks(keys, labels, members, counts, classes)
    mean, std, constant = statistics([images[at] for at in members["train"]], shape[0])
    remarks += [f"Channel {c + 1} is constant over all training images; its std is set to 1." for c in constant]
    sha256 = {
        split: _write(folder, split, (images[at] for at in m), [labels[at] for at in m], shape)
        for split, m in members.items()
    }
    content = {"format": FORMAT, "shape": shape, "classes": [*classes], "sha256": sha256}
    facts = {
        "id": f"own-{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]}",
        "label": label,
        **content,
        "mean": mean,
        "std": std,
        "counts": {split: count.tolist() for split, count in counts.items()},
        "notes": remarks,
        "bytes": len(images) * int(np.prod(shape)),
    }
    (folder / FACTS_FILE).write_text(json.dumps(facts), "utf-8")
    return facts


def statistics(images: Iterable[NDArray[np.uint8]], channels: int) -> tuple[list[float], list[float], list[int]]:
    """Mean and standard deviation per channel of the images scaled to 0..1, and the list of constant channels.

    Both are computed from exact counts, so that the order of the images does not matter, and rounded to six digits.
    The standard deviation of a constant channel is returned as 1.
    """
    levels = np.zeros((channels, 256), np.int64)
    for image in images:
        for channel in range(channels):
            levels[channel] += np.bincount(image[channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    share = levels / levels.sum(1, keepdims=True)
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(1))
    constant = [channel for channel in range(channels) if np.count_nonzero(levels[channel]) == 1]
    std[constant] = 1.0
    return [float(f"{value:.6g}") for value in mean], [float(f"{value:.6g}") for value in std], constant


def _split(keys: Sequence[bytes], labels: Sequence[int], classes: Sequence[str], order: Sequence[int]) -> list[str]:
    """Assign "train" or "test" to each image. Copies of one image go to the same split, so that no image is in both."""
    generator = np.random.default_rng(SPLIT_SEED)
    splits = ["train"] * len(keys)
    for number, name in enumerate(classes):
        mine = [at for at in order if labels[at] == number]
        distinct = list(dict.fromkeys(keys[at] for at in mine))
        if len(distinct) < 2:
            raise DataUnavailable(
                f"The class {name} has only one distinct image, but training and testing need one each. "
                "Add images, or bring folders train and test."
            )
        test_places = generator.permutation(len(distinct))[: max(1, round(TEST_SHARE * len(distinct)))]
        test_keys = {distinct[at] for at in test_places}
        for at in mine:
            if keys[at] in test_keys:
                splits[at] = "test"
    return splits


def _remarks(
    keys: Sequence[bytes],
    labels: Sequence[int],
    members: Mapping[str, Sequence[int]],
    counts: Mapping[str, NDArray[np.int64]],
    classes: Sequence[str],
) -> list[str]:
    """Remarks for the user: classes without test images, test images also used for training, conflicting labels."""
    if not members["test"]:
        raise DataUnavailable("There are no test images. Add some, or bring one folder per class without a split.")
    untested = [name for name, count in zip(classes, counts["test"], strict=True) if not count]
    remarks = [f"There are no test images of the class {listed_names(untested)}."] if untested else []
    train_keys = {keys[at] for at in members["train"]}
    overlap = sum(keys[at] in train_keys for at in members["test"])
    if overlap:
        remarks.append(f"{overlap:,} of {len(members['test']):,} test images are also training images.")
    kinds: dict[bytes, set[int]] = {}
    for key, label in zip(keys, labels, strict=True):
        kinds.setdefault(key, set()).add(label)
    conflicts = sum(len(kinds[key]) > 1 for key in keys)
    return remarks + ([f"{conflicts:,} images have an identical copy in another class."] if conflicts else [])


def _write(folder: Path, split: str, images: Iterable[NDArray[np.uint8]], labels: Sequence[int], shape: Shape) -> str:
    """Write both arrays of a split; return their hash, which equals `ImageSet.sha256`."""
    numbers, digest = np.array(labels, dtype="<i8"), hashlib.sha256()
    with (folder / f"{split}-images.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(labels), *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for image in images:
            file.write(image.data)
            digest.update(image.data)
    np.save(folder / f"{split}-labels.npy", numbers)
    digest.update(numbers.data)
    return digest.hexdigest()
