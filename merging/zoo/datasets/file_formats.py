"""Readers for downloaded image files: IDX (MNIST and similar data sets) and the CIFAR pickles. numpy only."""

import gzip
import io
import pickle
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from merging.errors import DataUnavailable

UNSIGNED_BYTE = 0x08  # IDX type code of all files that are read here

# Every global name in a pickled uint8 array. numpy 2.0 renamed its core, so the old name maps to the new function.
_HARMLESS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class ArrayUnpickler(pickle.Unpickler):
    """Unpickler for arrays, strings, numbers, lists and dictionaries; it refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a constructor of numpy arrays. Raises UnpicklingError for any other name."""
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a file of images")
        return _HARMLESS[module, name]


def find_file(folder: Path, name: str) -> Path | None:
    """The path of the file of this name in the folder, uncompressed or as .gz; None if there is neither."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes (gzipped if its name ends in .gz) as an array of the shape in its header.

    Raises DataUnavailable when the header or the size is wrong. Source: the format note of the MNIST data set.
    """
    raw = _content(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != UNSIGNED_BYTE or not 1 <= raw[3] <= 4:
        raise DataUnavailable(f"{path.name} is not an IDX file of bytes; delete it and download the data again")
    dims = raw[3]
    header = 4 + 4 * dims
    shape = tuple(int(size) for size in np.frombuffer(raw[4:header], dtype=">u4"))
    expected = header + prod(shape)
    if len(shape) != dims or len(raw) != expected:
        raise DataUnavailable(
            f"{path.name} is damaged: {len(raw)} bytes, but its header states {expected}; "
            "delete it and download the data again"
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an array of one to four dimensions as a gzipped IDX file. The same array always gives the same bytes."""
    header = bytes((0, 0, UNSIGNED_BYTE, array.ndim)) + np.array(array.shape, dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(header + np.ascontiguousarray(array).tobytes(), 9, mtime=0))


def read_cifar(path: Path, labels: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one CIFAR batch: images (n, 3, 32, 32) uint8 and labels (n,) int64. labels: key of the labels.

    The file is read with ArrayUnpickler only. Raises DataUnavailable when it is not a CIFAR batch.
    """
    try:
        batch = ArrayUnpickler(io.BytesIO(_content(path)), encoding="latin1").load()
        images = np.asarray(batch["data"]).reshape(-1, 3, 32, 32)
        numbers = np.asarray(batch[labels], dtype=np.int64)
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DataUnavailable(f"{path.name} is not a CIFAR batch ({error}); download the data again") from error
    if images.dtype != np.uint8 or len(images) != len(numbers):
        raise DataUnavailable(
            f"{path.name} is damaged: its images and labels differ in number or type; download the data again"
        )
    return images, numbers


def _content(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataUnavailable(f"{path.name} cannot be read ({error}); delete it and download the data again") from error
