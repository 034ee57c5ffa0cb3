"""Load the images of a data set from this machine.

Images that users added are stored by the module `own`. Built-in data sets are looked for in MERGESCOPE_DATA, then in
the downloads, then in the part that is shipped with the program.

numpy only. torchvision is imported in `download` alone, so that the web process can ask which data sets are available.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from merging.errors import DataUnavailable, InvalidSetting
from merging.paths import ASSETS
from merging.zoo.datasets.facts import FACTS, DatasetFacts
from merging.zoo.datasets.file_formats import find_file, read_cifar, read_idx
from merging.zoo.datasets.image_set import ImageSet, Split
from merging.zoo.datasets.known import facts
from merging.zoo.datasets.own import find_intact, is_own, own_images

__all__ = ["FACTS", "DatasetFacts", "ImageSet", "Split", "available", "download", "facts", "load_split"]
__all__ += ["training_images"]

IMAGES = ASSETS / "data"
_SHIPPED = {"fashion-mnist": IMAGES / "fashion-mnist"}
SHIPPED_TRAIN = {"fashion-mnist": 10_000}
_TORCHVISION = {"fashion-mnist": "FashionMNIST", "mnist": "MNIST", "cifar-10": "CIFAR10", "cifar-100": "CIFAR100"}


def cache_folder() -> Path:
    """The folder of downloads: mergescope/data below XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mergescope" / "data"


def available(name: str) -> str | None:
    """The place that a data set would be read from: "folder" (MERGESCOPE_DATA), "downloaded", "shipped" or "own".

    None if it is not on this machine, for example because a user's images were deleted. Only file names are checked.
    Raises InvalidSetting for an unknown name.
    """
    if is_own(name):
        return None if find_intact(name) is None else "own"
    facts(name)
    return next((place for place, folder in _places(name) if _has_files(name, folder)), None)


def training_images(name: str) -> int:
    """Number of training images on this machine: all, only those of the shipped part, or 0."""
    place = available(name)
    return 0 if place is None else SHIPPED_TRAIN[name] if place == "shipped" else facts(name).train


def load_split(name: str, split: Split, limit: int | None = None) -> ImageSet:
    """Load the first `limit` images of a split (None: all).

    Raises InvalidSetting for an unknown name or split, and DataUnavailable if the images are not on this machine or a
    file is damaged.
    """
    if split not in ("train", "test"):
        raise InvalidSetting(f"a split is train or test; got {split!r}")
    if limit is not None and not (isinstance(limit, int) and limit >= 1):
        raise InvalidSetting(f"limit is a whole number of images above 0; got {limit!r}")
    if is_own(name):
        return own_images(name, split, limit)
    dataset = facts(name)
    folder = next((folder for _, folder in _places(name) if _has_files(name, folder)), None)
    if folder is None:
        raise DataUnavailable(
            f"{dataset.label} is not on this machine: set MERGESCOPE_DATA to a folder that holds {dataset.folder}, "
            f"or run `python -m merging download {name}`"
        )
    images, labels = (_read_idx_pair if _is_idx(name) else _read_cifar_split)(name, folder, split)
    _check(dataset, images, labels)
    if limit is not None and limit < len(labels):
        images, labels = images[:limit].copy(), labels[:limit]  # a view would keep all images in memory
    return ImageSet(name, split, images, labels, dataset.classes, len(labels) == getattr(dataset, split))


def download(name: str) -> Path:
    """Download a data set into the cache folder with torchvision, which checks MD5 sums; return its folder.

    Raises DataUnavailable when the download fails, InvalidSetting for users' own images.
    """
    dataset = facts(name)
    if is_own(name):
        raise InvalidSetting(f"{dataset.label} are a user's own images; there is nothing to download")
    from merging.zoo.torchvision_import import torchvision

    root = cache_folder()
    root.mkdir(parents=True, exist_ok=True)
    try:
        getattr(torchvision.datasets, _TORCHVISION[name])(root, download=True)
    except (OSError, RuntimeError) as error:
        raise DataUnavailable(f"{dataset.label} could not be downloaded: {error}") from error
    return root / dataset.folder


def _places(name: str) -> list[tuple[str, Path]]:
    mine = os.environ.get("MERGESCOPE_DATA")
    places = [("folder", Path(mine) / FACTS[name].folder)] if mine else []
    places.append(("downloaded", cache_folder() / FACTS[name].folder))
    return places + ([("shipped", _SHIPPED[name])] if name in _SHIPPED else [])


def _is_idx(name: str) -> bool:
    return FACTS[name].folder.endswith("raw")


def _files(name: str, split: str) -> list[str]:
    if _is_idx(name):
        kin = "train" if split == "train" else "t10k"
        return [f"{kin}-images-idx3-ubyte", f"{kin}-labels-idx1-ubyte"]
    if name == "cifar-100":
        return [split]
    return [f"data_batch_{number}" for number in range(1, 6)] if split == "train" else ["test_batch"]


def _has_files(name: str, folder: Path) -> bool:
    return all(find_file(folder, file) for split in ("train", "test") for file in _files(name, split))


def _paths(name: str, folder: Path, split: str) -> list[Path]:
    return [path for path in (find_file(folder, file) for file in _files(name, split)) if path is not None]


def _read_idx_pair(name: str, folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = (read_idx(path) for path in _paths(name, folder, split))
    return images[:, None] if images.ndim == 3 else images, labels.astype(np.int64)


def _read_cifar_split(name: str, folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    key = "fine_labels" if name == "cifar-100" else "labels"
    batches = [read_cifar(path, key) for path in _paths(name, folder, split)]
    return np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches])


def _check(dataset: DatasetFacts, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    if images.shape[1:] != dataset.shape or labels.shape != (len(images),):
        raise DataUnavailable(
            f"the {dataset.label} files hold images {images.shape[1:]} with labels {labels.shape}, "
            f"not {dataset.shape}; delete them and download the data again"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(dataset.classes):
        raise DataUnavailable(f"the {dataset.label} files hold a label outside their {len(dataset.classes)} classes")
