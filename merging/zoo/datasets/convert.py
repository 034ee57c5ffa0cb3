"""Convert a user's own images to a data set, in a process that may crash without harm. torch-free."""

from __future__ import annotations

import json
from pathlib import Path

from merging.errors import DataUnavailable, InvalidSetting
from merging.paths import is_there
from merging.zoo.checkpoints.metadata import clean_name
from merging.zoo.datasets.own import OwnDataset, read_facts
from merging.zoo.datasets.reading.limits import HOW, MAX_DECODED, MAX_SIDE, SECONDS
from merging.zoo.disposable import Waiting, in_silence, run_disposable

COLOURS = ("auto", "grey", "colour")


def convert_images(
    source: Path,
    folder: Path,
    *,
    label: str = "",
    size: tuple[int, int] | None = None,
    colour: str = "auto",
    most: int = MAX_DECODED,
    seconds: int = SECONDS,
    waiting: Waiting = in_silence,
    person: str = "",
) -> OwnDataset:
    """Convert a folder or zip of images by class, or an .npz, to a data set in `folder`/ID, where ID is its id.

    size: (height, width) that all images are resized to; None for the most common size.  colour: "auto" gives one
    channel if all images are grey.  most: limit on the bytes of all decoded images.  seconds: limit on processor time.
    waiting: called with the number of conversions ahead while this one waits for its turn.  person: who brings them.
    Raises DataUnavailable when the images cannot be read (the message says why), InvalidSetting for a wrong setting.
    """
    if colour not in COLOURS:
        raise InvalidSetting(f"colour is one of {', '.join(COLOURS)}; got {colour!r}")
    if size is not None and not all(1 <= side <= MAX_SIDE for side in size):
        raise InvalidSetting(f"height and width are 1 to {MAX_SIDE} pixels; got {size[0]}×{size[1]}")
    if not is_there(source):
        raise DataUnavailable(f"There is nothing at {source}. {HOW}")
    if not (source.is_file() or source.is_dir()):
        raise DataUnavailable(f"{source} is a device, a pipe or a socket, not a file or folder. {HOW}")
    raw = folder / "reading"
    raw.mkdir(parents=True)
    order = {
        "source": str(source.resolve()),
        "label": clean_name(label) or clean_name(source.stem),
        "size": size,
        "colour": colour,
        "most": int(most),
        "seconds": seconds,
    }
    (raw / "order.json").write_text(json.dumps(order), "utf-8")
    late = DataUnavailable(f"Reading the images took more than {seconds} seconds and was stopped. Bring fewer images.")
    dead = DataUnavailable(
        "The images could not be read: the process that opened them ran out of memory or time, or met damaged data. "
        "Bring fewer images, or the folder instead of an archive."
    )
    run_disposable("merging.zoo.datasets.reading.process", raw, seconds, late, dead, waiting, person)
    (raw / "order.json").unlink()
    dataset = read_facts(raw)
    raw.rename(folder / dataset.id)
    return dataset


def read_size(text: str) -> tuple[int, int] | None:
    """Parse a size: "32x48" or "32×48" is (height, width), "32" a square, "" None. Raises InvalidSetting otherwise."""
    parts = text.lower().replace("×", "x").replace(" ", "").split("x")
    if not text.strip():
        return None
    if not all(part.isdecimal() and len(part) <= 6 for part in parts) or len(parts) > 2:
        raise InvalidSetting(f"A size is height x width in pixels, such as 32x32; got {text!r}.")
    return int(parts[0]), int(parts[-1])
