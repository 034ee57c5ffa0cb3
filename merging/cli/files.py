"""Write results to files, in the format that the file's suffix names."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from errno import EEXIST, EISDIR, ENOENT, ENOTDIR
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np

from merging.errors import InvalidRequest, InvalidSetting
from merging.paths import is_there
from merging.results import saving
from merging.results.reports import UnitPicture

if TYPE_CHECKING:
    from merging.figures.figure import Figure

RESULTS = (".csv", ".json", ".html", ".svg", ".pdf", ".png")
ELSEWHERE = " Give another --out."
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
            scratch.replace(os.path.realpath(path))
        finally:
            scratch.unlink(missing_ok=True)
    return path


def check_inputs_stay(out: Path, inputs: Iterable[str]) -> None:
    """Raise InvalidRequest if a command would replace a file that it reads.

    out: the file or folder to write. inputs: paths of files or folders, and names of factories (package.module:name).
    """
    targets = [os.path.realpath(path) for path in _targets(out) if is_there(path) and path.is_file()]
    for text in inputs:
        factory = f"{text.partition(':')[0].replace('.', '/')}.py"
        for path in (Path(text), Path(factory)):
            if is_there(path) and any(_holds(os.path.realpath(path), target) for target in targets):
                raise InvalidRequest(f"{path} is an input, and {out} would replace it. Give another --out.")


def _holds(given: str, target: str) -> bool:
    """Whether a file is the given one, or lies in the given folder. Both are real paths."""
    return target == given or target.startswith(os.path.join(given, ""))


def _targets(out: Path) -> list[Path]:
    """The files that a command with this --out may replace."""
    if not is_there(out) or not out.is_dir():
        return [out]
    with _writing(out):
        return [out / name for name in WRITTEN] + [path for path in out.iterdir() if path.suffix == ".png"]


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
        if path.is_symlink() and not path.exists():
            raise FileNotFoundError(ENOENT, "it is a link to a file that does not exist")
        TemporaryFile(dir=path.parent).close()


def check_folder(path: Path) -> None:
    """Raise InvalidRequest if no files can be written into the folder. The check leaves nothing behind."""
    with _writing(path):
        there = next(folder for folder in (path, *path.absolute().parents) if folder.exists() or folder.is_symlink())
        if not there.is_dir():
            raise NotADirectoryError(ENOTDIR, "a file is in its way")
        TemporaryFile(dir=there).close()
        for file in (path / name for name in WRITTEN):
            if (file.exists() or file.is_symlink()) and not file.is_file():
                raise FileExistsError(EEXIST, f"{file.name} in it is not a file")


def check_result(path: Path) -> None:
    """Raise InvalidSetting or InvalidRequest if `write_result` could not write to the path."""
    if path.suffix not in RESULTS:
        raise InvalidSetting(
            f"{path.name}: results are written as {', '.join(RESULTS[:-1])} or {RESULTS[-1]}. Give the file one of "
            "these suffixes."
        )
    check_file(path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        in_its_way = isinstance(error, NotADirectoryError) or (isinstance(error, FileExistsError) and error.filename)
        reason = "a file is in its way" if in_its_way else error.strerror
        raise InvalidRequest(f"{path} cannot be written: {reason}.{ELSEWHERE}") from error


def write_result(path: Path, value: object, table: Callable[[], str], figure: Callable[[], Figure]) -> Path:
    """Write a result: its table as .csv, everything as .json, its figure as .html, .svg, .pdf or .png.

    Raises as `check_result` does.
    """
    check_result(path)
    if path.suffix == ".csv":
        return write(path, table().encode())
    if path.suffix == ".json":
        return write(path, saving.to_json(value).encode())
    if path.suffix == ".html":
        return write(path, figure().checked().to_html(include_plotlyjs=True).encode())
    from merging.figures.paper import FORMATS, WIDTHS, figure_file

    kind = next(kind for kind in FORMATS if path.suffix == f".{kind}")
    return write(path, figure_file(figure(), kind, WIDTHS["two columns"]))


def png_bytes(picture: UnitPicture) -> bytes:
    """Encode a unit's picture as a PNG file."""
    from PIL import Image

    pixels = np.rint(picture.pixels * 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(out, "PNG")
    return out.getvalue()
