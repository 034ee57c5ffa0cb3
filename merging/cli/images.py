"""Images that a command measures on: those of --data, by default those of the networks' own data set."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from merging.cli.console import say_note
from merging.cli.nets import Net
from merging.cli.options import Options
from merging.errors import DataUnavailable, InvalidSetting
from merging.jobs.requests.checks import check_class_order, check_fit
from merging.paths import is_there
from merging.progress import Progress
from merging.zoo.datasets.convert import convert_images
from merging.zoo.datasets.facts import FACTS
from merging.zoo.datasets.fingerprint import load_splits
from merging.zoo.datasets.image_set import ImageSet
from merging.zoo.datasets.known import dataset_label, facts
from merging.zoo.datasets.own import OwnDataset, is_own, own_datasets, with_folder

if TYPE_CHECKING:
    from merging.network.data import Batches

OPERATOR = "the command line"  # the owner of the data sets that `data add` stores


@contextmanager
def read_data_name(options: Options, report: Progress) -> Iterator[Options]:
    """Yield the options with --data replaced by a data set's name; images of a path are readable within the context.

    Raises InvalidSetting if --data names nothing or is ambiguous; DataUnavailable if its images cannot be read.
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
    """Return the stored data set with this id or label, or None. Raises InvalidSetting if several have the label."""
    matches = [one for one in own_datasets(OPERATOR) if name in (one.id, one.facts.label)]
    if len(matches) > 1:
        ids = ", ".join(one.id for one in matches)
        raise InvalidSetting(f"{len(matches)} data sets are called {name}: {ids}. Choose one by its id.")
    return matches[0] if matches else None


def _kept(text: str) -> str | None:
    """Return the id of the stored data set that the text names; None if the text is a path."""
    if not text.strip():
        raise InvalidSetting("--data is empty: give the name of a data set, or a path.")
    dataset, there = find_kept(text), is_there(Path(text))
    if dataset is not None and there and not is_own(text):
        raise InvalidSetting(
            f"{text} is both a stored data set and a path. Write ./{text} for the path, {dataset.id} for the data set."
        )
    if dataset is None and is_own(text) and not there:
        facts(text)  # raises the error which says that the images were deleted
    if dataset is None and not there:
        names = [*FACTS, *(one.facts.label for one in own_datasets(OPERATOR))]
        raise InvalidSetting(f"No data set, folder or file is called {text!r}. Data sets: {', '.join(names)}.")
    return None if dataset is None else dataset.id


def dataset_of(options: Options, net: Net) -> str:
    """Return the data set of --data, or else the one that the network was trained on; "" if neither is known."""
    return options.data or net.checkpoint.dataset


def read_images(options: Options, net: Net) -> dict[str, ImageSet]:
    """Return images by split; {} if there are none. Raises DataUnavailable if those of --data are not here."""
    images = load_splits(dataset_of(options, net), options.images)
    if options.data and not images:
        raise DataUnavailable(no_images(options, net))
    return images


def no_images(options: Options, net: Net) -> str:
    """Return a message that says why there are no images and what to do."""
    name = dataset_of(options, net)
    if is_own(name):
        return f"The images of these networks ({name}) are not on this machine: give --data FOLDER, ZIP or NPZ."
    if name not in FACTS:
        return "It is not known which images these networks were trained on: name the data set with --data."
    fetch = f"run `python -m merging download {name}`, or set MERGESCOPE_DATA to a folder that holds it"
    return f"{dataset_label(name)} is not on this machine: {fetch}."


def need_images(options: Options, net: Net) -> dict[str, ImageSet]:
    """Return images by split.

    Raises DataUnavailable if there are none to measure on, InvalidRequest if the network takes another shape.
    """
    images = read_images(options, net)
    if not images:
        raise DataUnavailable(no_images(options, net))
    shape = {} if net.is_own else {"in_shape": net.checkpoint.config.get("in_shape", ())}
    check_fit(dataset_of(options, net), net.checkpoint.architecture, shape)
    return images


def check_labels(options: Options, nets: Sequence[Net]) -> None:
    """Raise InvalidRequest if a network names the classes of the images in another order than their labels."""
    for net in nets:
        check_class_order(dataset_of(options, nets[0]), net.checkpoint.classes, net.checkpoint.name)


def need_batches(options: Options, net: Net, device: str) -> dict[str, Batches]:
    """Return batches on the device by split. Raises like `need_images`."""
    import torch

    from merging.jobs.tasks.common import batches

    return {split: batches(images, torch.device(device)) for split, images in need_images(options, net).items()}
