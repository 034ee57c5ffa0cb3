"""Write results to files, in the format that the file's suffix names."""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from errno import EISDIR, ENOTDIR
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np

from merging.errors import InvalidRequest, InvalidSetting
from merging.results import saving
from merging.results.reports import LossCurve, SimilarityMap, UnitPicture

if TYPE_CHECKING:
    from merging.figures.figure import Figure

RESULTS = (".csv", ".json", ".html")
METRICS = ("loss", "accuracy", "ece")
WRITTEN = (  # names of the files that `merge` writes into its folder
    *("merge.safetensors", "aligned.safetensors", "naive.safetensors", "merge.pt2", "aligned.pt2"),
    *("permutation.npz", "report.json", "curves.csv"),
)


def write(path: Path, data: bytes) -> Path:
    """Write the bytes, create the folder if needed, and return the path. Raises InvalidRequest if that fails.

    A file appears complete or not at all: until then, a file that was there before stays.
    """
    make_folder(path.parent)
    with _writing(path):
        if path.exists() and not path.is_file():  # a device or a pipe
            path.write_bytes(data)
            return path
        scratch = path.with_name(f".{path.name[:40]}-{secrets.token_hex(4)}")
        try:
            scratch.write_bytes(data)
            scratch.replace(path.resolve())
        finally:
            scratch.unlink(missing_ok=True)
    return path


def check_inputs_stay(out: Path, inputs: Iterable[str]) -> None:
    """Raise InvalidRequest if a command would replace one of its own input files. out: the file or folder to write."""
    for path in map(Path, inputs):
        with _writing(out):
            same = (
                is_there(path)
                and path.is_file()
                and (
                    (out.is_file() and out.samefile(path))
                    or (out.is_dir() and any(is_there(out / name) and (out / name).samefile(path) for name in WRITTEN))
                )
            )
        if same:
            raise InvalidRequest(f"{path} is an input, and {out} would replace it. Give another --out.")


def is_there(path: Path) -> bool:
    """Whether the path exists; False for one that cannot exist, such as a name of 300 characters."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def make_folder(path: Path) -> None:
    """Create the folder if needed. Raises InvalidRequest if that fails."""
    with _writing(path):
        path.mkdir(parents=True, exist_ok=True)


def check_file(path: Path) -> None:
    """Raise InvalidRequest if the file cannot be written. Called before long computations."""
    make_folder(path.parent)
    with _writing(path):
        if path.is_dir():
            raise IsADirectoryError(EISDIR, "it is a folder")
        TemporaryFile(dir=path.parent).close()


def check_folder(path: Path) -> None:
    """Raise InvalidRequest if no files can be written into the folder. The check leaves nothing behind."""
    with _writing(path):
        there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        if not there.is_dir():
            raise NotADirectoryError(ENOTDIR, "a file is in its way")
        TemporaryFile(dir=there).close()


def check_result(path: Path) -> None:
    """Raise InvalidSetting or InvalidRequest if `write_result` could not write to the path."""
    if path.suffix not in RESULTS:
        raise InvalidSetting(
            f"{path.name}: results are written as .csv, .json or .html. Give the file one of these suffixes."
        )
    check_file(path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "a file is in its way" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise InvalidRequest(f"{path} cannot be written: {reason}. Give another --out.") from error


def write_result(path: Path, value: object, table: Callable[[], str], figure: Callable[[], Figure]) -> Path:
    """Write a result as .csv (its table), .json (everything) or .html (its figure). Raises like `check_result`."""
    check_result(path)
    if path.suffix == ".csv":
        return write(path, table().encode())
    if path.suffix == ".json":
        return write(path, saving.to_json(value).encode())
    return write(path, figure().checked().to_html(include_plotlyjs=True).encode())


def curves_csv(curves: Mapping[str, Mapping[str, LossCurve]]) -> str:
    """Return CSV with one row per point and the columns path, split, lambda, loss, accuracy, ece."""
    rows = [
        (kind, split, f"{at:.6g}", *(repr(float(getattr(curve, metric)[number])) for metric in METRICS))
        for kind, splits in curves.items()
        for split, curve in splits.items()
        for number, at in enumerate(curve.lambdas)
    ]
    return _csv([("path", "split", "lambda", *METRICS), *rows])


def similarity_csv(found: SimilarityMap) -> str:
    """Return CSV with one row per layer of the first network and one column per layer of the second."""
    rows = [(name, *map(repr, row)) for name, row in zip(found.row_layers, found.values.tolist(), strict=True)]
    return _csv([(f"{found.row} \\ {found.column}", *found.column_layers), *rows])


def png_bytes(picture: UnitPicture) -> bytes:
    """Encode a unit's picture as a PNG file."""
    from PIL import Image

    pixels = np.rint(picture.pixels * 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(out, "PNG")
    return out.getvalue()


def _csv(rows: list[tuple[str, ...]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
