"""Read images and labels from an .npz file, array by array and without pickle.

    images        uint8 (n, height, width) or (n, height, width, channels), one or three channels
    labels        integers from 0, (n,) or (n, 1)
    test_images, test_labels   the same for the test split (optional; by default a part of the images)
    classes       names, one per label (optional)

The names `train_images` and `train_labels` (MedMNIST), and `x_train`, `y_train`, `x_test` and `y_test` (Keras) are
accepted too.
"""

from __future__ import annotations

import zipfile
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from merging.errors import DataUnavailable
from merging.zoo.datasets.reading.files import DAMAGED_ZIP, shown_path
from merging.zoo.datasets.reading.gathered import Gathered, Picture, class_names, listed_names
from merging.zoo.datasets.reading.limits import MAX_FILES, MAX_TOTAL, MEGABYTE

FAMILIES = (
    ("images", "labels", "test_images", "test_labels"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)
CLASSES = "classes"
NAMES = "Name the arrays images and labels, and test_images and test_labels if there are any."


def is_arrays(archive: zipfile.ZipFile) -> bool:
    """Whether the archive is an .npz, which holds .npy files only."""
    names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def gather_arrays(archive: zipfile.ZipFile) -> Gathered:
    """Collect the images of an .npz. Raises DataUnavailable if an array is missing, too large, or of a wrong type."""
    entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    family = next((names for names in FAMILIES if names[0] in entries and names[1] in entries), None)
    if family is None:
        raise DataUnavailable(f"The .npz holds {listed_names(shown_path((name,)) for name in entries)}. {NAMES}")
    values_of = {name: _array(archive, entries[name], name) for name in (*family, CLASSES) if name in entries}
    splits = [("train", *family[:2])] + ([("test", *family[2:])] if family[2] in values_of else [])
    if (family[2] in values_of) != (family[3] in values_of):
        raise DataUnavailable(f"The .npz holds only one of {family[2]} and {family[3]}. Give both, or neither.")
    labels = {split: _labels(values_of[numbers], numbers, values_of[images]) for split, images, numbers in splits}
    count = max(int(values.max()) for values in labels.values() if len(values)) + 1
    classes = (
        _classes(values_of[CLASSES], count) if CLASSES in values_of else class_names([str(n) for n in range(count)])
    )
    pictures = [
        Picture(f"{images}[{at}]", int(label), split if len(splits) > 1 else "", partial(_open, values_of[images], at))
        for split, images, _ in splits
        for at, label in enumerate(labels[split])
    ]
    others = [shown_path((name,)) for name in entries if name not in values_of]
    return Gathered(
        tuple(pictures), classes, (f"Other arrays were left out: {listed_names(others)}.",) if others else ()
    )


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> NDArray[np.generic]:
    """Read one array, after a check of the type and the size in its header."""
    try:
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, kind = read(file)
            if kind.hasobject:
                raise DataUnavailable(
                    f"{name} holds Python objects, which could run arbitrary code. Save plain numbers, and class names "
                    'as np.array(names, dtype="U").'
                )
            size = prod(shape) * kind.itemsize
            if size > MAX_TOTAL:
                raise DataUnavailable(
                    f"{name} claims {size / MEGABYTE:,.0f} MB; at most {MAX_TOTAL / MEGABYTE:,.0f} MB are allowed."
                )
            data = file.read(size)
    except (*DAMAGED_ZIP, KeyError, TypeError, SyntaxError) as error:
        raise DataUnavailable(f"{name} in the .npz is damaged. Save it again with np.savez.") from error
    if len(data) != size or min(shape, default=0) < 0:
        raise DataUnavailable(f"{name} in the .npz is cut off. Save it again with np.savez.")
    values = np.frombuffer(data, kind)
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


def _labels(labels: NDArray[np.generic], name: str, images: NDArray[np.generic]) -> NDArray[np.int64]:
    _check_images(images, name)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise DataUnavailable(f"{name} has the shape {labels.shape}, one column per class. Give {name}.argmax(1).")
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataUnavailable(
            f"{name} is {labels.dtype} of shape {labels.shape}. Give the number of each image's class as whole "
            "numbers, and the names as `classes`."
        )
    if len(labels) != len(images):
        raise DataUnavailable(
            f"There are {len(images):,} images, but {name} has {len(labels):,} entries. Give one per image."
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < MAX_FILES:
        raise DataUnavailable(f"{name} ranges from {labels.min()} to {labels.max()}. Number the classes from 0.")
    return labels.astype(np.int64)


def _check_images(images: NDArray[np.generic], name: str) -> None:
    """Raise DataUnavailable, with code that fixes the images, unless the images are uint8 with channels last."""
    what = f"The images that belong to {name} are {images.dtype} of shape {images.shape}"
    if images.dtype.kind == "f":
        raise DataUnavailable(f"{what}; give uint8: (images * 255).round().astype('uint8') if they are in 0..1.")
    if images.dtype != np.uint8:
        raise DataUnavailable(f"{what}; give uint8 in 0..255: images.astype('uint8').")
    if images.ndim == 4 and images.shape[3] not in (1, 3) and images.shape[1] in (1, 3):
        raise DataUnavailable(f"{what}, channels first; give them last: images.transpose(0, 2, 3, 1).")
    if images.ndim == 4 and images.shape[3] == 4:
        raise DataUnavailable(f"{what}, with transparency; give images[..., :3].")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)) or 0 in images.shape:
        raise DataUnavailable(f"{what}; give (n, height, width) or (n, height, width, 3).")
    if len(images) > MAX_FILES:
        raise DataUnavailable(f"There are {len(images):,} images; at most {MAX_FILES:,} are allowed. Bring fewer.")


def _classes(names: NDArray[np.generic], count: int) -> tuple[str, ...]:
    if names.dtype.kind not in "US" or names.ndim != 1:
        raise DataUnavailable(f'{CLASSES} is {names.dtype} of shape {names.shape}. Give np.array(names, dtype="U").')
    if len(names) < count:
        raise DataUnavailable(
            f"There is a label {count - 1}, but only {len(names)} {CLASSES} are named. Name all classes."
        )
    return class_names([name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names])


def _open(images: NDArray[np.generic], at: int) -> Image.Image:
    pixels = images[at]
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))
