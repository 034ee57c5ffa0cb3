"""Images that a command measures on: those of --data, or of the networks' own data set without it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from merging.cli.console import say_note
from merging.cli.nets import Net
from merging.cli.options import Options
from merging.errors import DataUnavailable, InvalidSetting
from merging.jobs.requests.checks import check_fit
from merging.progress import Progress
from merging.zoo.datasets.convert import convert_images
from merging.zoo.datasets.facts import FACTS
from merging.zoo.datasets.fingerprint import load_splits
from merging.zoo.datasets.image_set import ImageSet
from merging.zoo.datasets.known import dataset_label, facts
from merging.zoo.datasets.own import OwnDataset, is_own, own_datasets, with_folder

if TYPE_CHECKING:
    from merging.network.data import Batches

OPERATOR = "the command line"  # the owner of the data sets that `data add` keeps


@contextmanager
def read_data_name(options: Options, report: Progress) -> Iterator[Options]:
    """Yield the options with the name of a data set as --data; images at a path are readable for as long as it lasts.

    Raises InvalidSetting where --data names nothing, or two things; DataUnavailable for images that cannot be read.
    """
    text = getattr(options, "data", None)
    dataset_id = None if text is None or text in FACTS else _kept(text)
    if text is None or text in FACTS or dataset_id is not None:
        yield options if dataset_id is None else options.with_value("data", dataset_id)
        return
    with tempfile.TemporaryDirectory(prefix="mergescope-") as scratch:
        report("reading", None, Path(text).name)
        dataset = convert_images(Path(text), Path(scratch))
        for line in (summary(dataset), *dataset.notes):
            say_note(line)
        with with_folder(Path(scratch)):
            yield options.with_value("data", dataset.id)


def summary(dataset: OwnDataset) -> str:
    """Describe the user's own images in one line."""
    info = dataset.facts
    shape, mean, std = (
        "×".join(map(str, info.shape)),
        *(", ".join(f"{v:.4f}" for v in x) for x in (info.mean, info.std)),
    )
    return (
        f"{info.label} ({dataset.id}): {info.train:,} training and {info.test:,} test images of {shape}, "
        f"{len(info.classes)} classes; mean {mean}, std {std}"
    )


def find_kept(name: str) -> OwnDataset | None:
    """Return the stored data set of this id or label, or None. Raises InvalidSetting where several have the label."""
    matches = [one for one in own_datasets(OPERATOR) if name in (one.id, one.facts.label)]
    if len(matches) > 1:
        ids = ", ".join(one.id for one in matches)
        raise InvalidSetting(f"{len(matches)} data sets are called {name}: {ids}. Name one of these.")
    return matches[0] if matches else None


def _kept(text: str) -> str | None:
    """Return the id of the stored data set that the text names; None where it is a path."""
    if not text.strip():
        raise InvalidSetting("--data is empty: give the name of a data set, or a path.")
    dataset, there = find_kept(text), Path(text).exists()
    if dataset is not None and there and not is_own(text):
        raise InvalidSetting(
            f"{text} is a kept data set and a file here. Write ./{text} for the file, or {dataset.id}."
        )
    if dataset is None and is_own(text) and not there:
        facts(text)  # raises the error that they were deleted
    if dataset is None and not there:
        names = [*FACTS, *(one.facts.label for one in own_datasets(OPERATOR))]
        raise InvalidSetting(f"No data set, folder or file is called {text!r}. Data sets: {', '.join(names)}.")
    return None if dataset is None else dataset.id


def dataset_of(options: Options, net: Net) -> str:
    """Name of the data set of --data, else of the one that the network was trained on; "" where neither is known."""
    return options.data or net.checkpoint.dataset


def read_images(options: Options, net: Net) -> dict[str, ImageSet]:
    """Images by split; {} where no data set is named. Raises DataUnavailable where they are not on this machine."""
    images = load_splits(dataset_of(options, net), options.images)
    if options.data and not images:
        raise DataUnavailable(no_images(options, net))
    return images


def no_images(options: Options, net: Net) -> str:
    """Message that says why there are no images, and what to do."""
    name = dataset_of(options, net)
    if is_own(name):
        return f"The images of these networks ({name}) are not here: give them with --data FOLDER, ZIP or NPZ."
    if name not in FACTS:
        return "It is not known which images these networks were trained on: name the data set with --data."
    fetch = f"run `python -m merging download {name}`, or set MERGESCOPE_DATA to a folder that holds it"
    return f"{dataset_label(name)} is not on this machine: {fetch}."


def need_images(options: Options, net: Net) -> dict[str, ImageSet]:
    """Images by split.

    Raises DataUnavailable where there are none to measure on, InvalidRequest where the network takes another shape.
    """
    images = read_images(options, net)
    if not images:
        raise DataUnavailable(no_images(options, net))
    shape = {} if net.is_own else {"in_shape": net.checkpoint.config.get("in_shape", ())}
    check_fit(dataset_of(options, net), net.checkpoint.architecture, shape)
    return images


def need_batches(options: Options, net: Net, device: str) -> dict[str, Batches]:
    """Batches on the device by split. Raises DataUnavailable where there are no images to measure on."""
    import torch

    from merging.jobs.tasks.common import batches

    return {split: batches(images, torch.device(device)) for split, images in need_images(options, net).items()}
