"""Main function of the reading process: `python -m merging.zoo.datasets.reading.process FOLDER`.

Only `merging.zoo.datasets.convert` starts this process. That module writes order.json into FOLDER, and the process
writes the files of the data set next to it.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from merging.errors import DataUnavailable
from merging.zoo.datasets.reading import arrays
from merging.zoo.datasets.reading.assemble import assemble
from merging.zoo.datasets.reading.files import DAMAGED_ZIP, list_folder, list_zip, shown_path
from merging.zoo.datasets.reading.gathered import Gathered, check_classes
from merging.zoo.datasets.reading.layout import arrange
from merging.zoo.datasets.reading.limits import HOW, MAX_TOTAL, MEGABYTE, SPARE
from merging.zoo.datasets.reading.pictures import (
    changes,
    check_decoded_size,
    common_size,
    decode,
    each,
    guarded,
    inspect_picture,
)
from merging.zoo.disposable import answer_with, limit_process

ORDER = "order.json"


def main(folder: Path) -> int:
    """Convert the images that order.json names. Returns the exit code."""
    order = json.loads((folder / ORDER).read_text("utf-8"))
    source = Path(order["source"])
    size = source.stat().st_size if source.is_file() else 0
    limit_process(3 * order["most"] + min(2 * size, 2 * MAX_TOTAL) + SPARE, order["seconds"])
    return answer_with(folder, partial(read_order, source, order, folder))


def read_order(source: Path, order: dict[str, Any], folder: Path) -> None:
    """Convert the images at `source` and write the data set's files into `folder`.

    order: keys label, size ((height, width) or None), colour ("auto", "grey" or "colour") and most (limit on the bytes
    of all images).
    Raises DataUnavailable when the images cannot be read or exceed a limit.
    """
    if source.is_dir():
        _finish(arrange(list_folder(source)), order, folder)
        return
    size = source.stat().st_size
    if size > MAX_TOTAL:
        raise DataUnavailable(
            f"The file has {size / MEGABYTE:,.0f} MB; at most {MAX_TOTAL / MEGABYTE:,.0f} MB are allowed."
        )
    if not zipfile.is_zipfile(source):
        raise DataUnavailable(f"{shown_path((source.name,))} is neither a zip archive nor an .npz. {HOW}")
    try:
        archive = zipfile.ZipFile(source)
    except DAMAGED_ZIP as error:
        raise DataUnavailable("The archive is damaged: its directory cannot be read. Create it again.") from error
    with archive:
        gathered = arrays.gather_arrays(archive) if arrays.is_arrays(archive) else arrange(list_zip(archive, size))
        _finish(gathered, order, folder)


def _finish(gathered: Gathered, order: dict[str, Any], folder: Path) -> None:
    check_classes(gathered)
    pictures = gathered.pictures
    with guarded():
        looks = each(pictures, inspect_picture)
        height, width = order["size"] or common_size(looks)
        grey = all(one.grey for one in looks) if order["colour"] == "auto" else order["colour"] == "grey"
        shape = (1 if grey else 3, height, width)
        check_decoded_size(len(pictures), shape, order["most"])
        tally = Counter[str]()
        images = each(pictures, partial(decode, shape=shape, tally=tally))
    notes = [*gathered.notes, *changes(tally, len(pictures), shape)]
    labels, splits = [picture.label for picture in pictures], [picture.split for picture in pictures]
    assemble(images, labels, splits, gathered.classes, notes, folder, order["label"])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
