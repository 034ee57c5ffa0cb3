"""Open a path from a user: ordinary files only, and at most as many bytes as the file has when it is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from merging.errors import CheckpointError
from merging.zoo.checkpoints.reading.limits import shown

_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # otherwise, opening a pipe without a writer waits for ever


@contextmanager
def opened(path: Path) -> Iterator[tuple[BufferedReader, int]]:
    """Open a file; yield it and its current size in bytes. Raises CheckpointError when it is missing or unreadable."""
    with told_in_words(path):
        handle = os.open(path, os.O_RDONLY | _AT_ONCE | getattr(os, "O_BINARY", 0))
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, a pipe or a socket"
        raise CheckpointError(f"{_named(path)} is {kind}, not a file. Give the path of a checkpoint file.")
    with os.fdopen(handle, "rb") as file, told_in_words(path):
        yield file, status.st_size


def read_start(path: Path, count: int = 300) -> tuple[bytes, int]:
    """Read the first `count` bytes of a file; also return its size in bytes. Raises as `opened` does."""
    with opened(path) as (file, size):
        return file.read(min(count, size)), size


def read_whole(path: Path) -> bytes:
    """Read all bytes that the file had when it was opened. Raises as `opened` does, and if the file got shorter."""
    with opened(path) as (file, size):
        data = file.read(size)
    if len(data) != size:
        raise CheckpointError(f"{_named(path)} changed while it was read. Wait until it is written, then start again.")
    return data


@contextmanager
def told_in_words(path: Path) -> Iterator[None]:
    """Turn the system's errors about a path into CheckpointError."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{_named(path)} cannot be read: {error.strerror}. Check the path.") from error
    except ValueError as error:  # a NUL within the path
        raise CheckpointError(f"{_named(path)} is not a valid path. Check it.") from error


def _named(path: Path) -> str:
    text = str(path)
    return text if text.isprintable() else shown(text)
