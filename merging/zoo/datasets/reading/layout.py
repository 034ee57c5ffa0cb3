"""Classes and splits of images from their folder names, in the layout and class order of torchvision's ImageFolder.

The layout is `train/cat/1.png` and `test/dog/2.jpg`, or without splits `cat/1.png` and `dog/2.png`. Classes are
numbered in the order of their names as text ("10" before "2"). ImageFolder does the same, so that the numbers agree
with the outputs of a network that was trained with it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import partial

from PIL import Image

from merging.errors import DataUnavailable
from merging.zoo.datasets.reading.files import Listing, Member, shown_path
from merging.zoo.datasets.reading.gathered import Gathered, Picture, class_names, listed_names
from merging.zoo.datasets.reading.limits import HOW

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # the formats that PIL may try: none executes code
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".npz")
TRAIN, TEST, VALIDATION = ("train", "training"), ("test", "testing"), ("val", "valid", "validation")
SPLITS = (*TRAIN, *TEST, *VALIDATION)
_KINDS = {"train": TRAIN, "test": TEST, "validation": VALIDATION}
Files = list[tuple[tuple[str, ...], Member]]  # path relative to the data set's top folder, file


def arrange(listing: Listing) -> Gathered:
    """Assign classes and splits to the images. Raises DataUnavailable if the folders do not determine them."""
    nested = [file.name for file in listing.files if file.path[-1].lower().endswith(ARCHIVES)]
    if nested:
        raise DataUnavailable(
            f"There is an archive among the images ({listed_names(nested)}). Unpack it, or take it out."
        )
    images = [(file.path, file) for file in listing.files if file.path[-1].lower().endswith(IMAGES)]
    others = [file.name for file in listing.files if not file.path[-1].lower().endswith(IMAGES)]
    if not images:
        there = f"only {listed_names(others)}" if others else "no files"
        raise DataUnavailable(f"There are no images here, {there}. {HOW}")
    images, folders = _without_top(images, listing.folders)
    notes = [f"Left out, because they are not images: {listed_names(others)}."] if others else []
    tops = {path[0].lower() for path, _ in images}
    if tops <= set(SPLITS) and tops & set(TRAIN):
        return _with_splits(images, folders, notes)
    _check_no_splits(images)
    return _gathered([("", images)], folders, notes)


def _without_top(images: Files, folders: Iterable[tuple[str, ...]]) -> tuple[Files, set[tuple[str, ...]]]:
    """Remove the outer folder that contains everything, as in an archive made from a folder."""
    inner = set(folders)
    while len({path[0] for path, _ in images}) == 1 and all(len(path) > 2 for path, _ in images):
        top = images[0][0][0]
        if top.lower() in SPLITS:
            break
        images = [(path[1:], file) for path, file in images]
        inner = {path[1:] for path in inner if path[0] == top and len(path) > 1}
    return images, inner


def _with_splits(images: Files, folders: set[tuple[str, ...]], notes: list[str]) -> Gathered:
    tops = {kind: [(p, f) for p, f in images if p[0].lower() in names] for kind, names in _KINDS.items()}
    for path, _ in images:
        if len(path) < 3:
            raise _classless(path)
    test = "test" if tops["test"] else "validation"
    if tops["test"] and tops["validation"]:
        notes = [*notes, f"Left out: {len(tops['validation']):,} validation images; the test images are used."]
    elif tops["validation"]:
        notes = [*notes, "The validation images are used as test images, because there are no others."]
    below = {path[1:] for path in folders if path[0].lower() in TRAIN and len(path) > 1}
    splits = [("train", tops["train"]), ("test", tops[test])]
    by_class = [(split, [(path[1:], file) for path, file in files]) for split, files in splits]
    if not tops[test]:
        by_class = [("", by_class[0][1])]  # no test images: split the training images, as without split folders
    return _gathered(by_class, below, notes)


def _check_no_splits(images: Files) -> None:
    """Raise DataUnavailable if split folders are next to other folders, or an image is not in a folder."""
    for path, _ in images:
        if len(path) < 2:
            raise _classless(path)
        if path[0].lower() in SPLITS and len(path) > 2:
            others = sorted({shown_path(other[:1]) for other, _ in images if other[0].lower() not in SPLITS})
            beside = f"{listed_names(others)} is next to it" if others else "there is no folder train"
            raise DataUnavailable(
                f"{shown_path(path[:1])} holds folders of classes, as a split does, but {beside}. Keep only train and "
                "test at the top, or one folder per class."
            )


def _classless(path: tuple[str, ...]) -> DataUnavailable:
    return DataUnavailable(f"{shown_path(path)} is not in the folder of a class. {HOW}")


def _gathered(splits: list[tuple[str, Files]], folders: set[tuple[str, ...]], notes: list[str]) -> Gathered:
    """Number the classes and collect the images of all splits.

    splits: pairs of a split's name and its files, whose paths begin with the class.  folders: all folders of the
    training split (or of the unsplit images), which show empty classes.
    """
    raw = sorted({path[0] for path, _ in splits[0][1]})
    empty = sorted({path[0] for path in folders} - set(raw))
    if empty:
        raise DataUnavailable(
            f"The folder {listed_names(map(_shown, empty))} holds no image. Add images, or take it out."
        )
    names = class_names(raw)
    number = {name: at for at, name in enumerate(raw)}
    unknown = sorted({path[0] for _, files in splits[1:] for path, _ in files} - set(raw))
    if unknown:
        raise DataUnavailable(
            f"{listed_names(map(_shown, unknown))} has test images, but no training images. Add some."
        )
    pictures = tuple(
        Picture(file.name, number[path[0]], split, partial(_open, file))
        for split, files in splits
        for path, file in files
    )
    if all(name.isdecimal() for name in raw) and sorted(raw, key=int) != raw:
        order = ", ".join(names[:4])
        notes = [*notes, f"Classes are numbered in the order of their names as text, as ImageFolder does: {order} ..."]
    return Gathered(pictures, names, tuple(notes))


def _shown(name: str) -> str:
    return shown_path((name,))


def _open(file: Member) -> Image.Image:
    return Image.open(io.BytesIO(file.read()), formats=FORMATS)
