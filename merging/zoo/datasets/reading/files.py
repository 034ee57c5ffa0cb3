"""List the files of a folder or zip archive. Nothing is unpacked to disk; names in archives are never used as paths."""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from merging.errors import DataUnavailable
from merging.zoo.checkpoints.metadata import clean_name
from merging.zoo.datasets.reading.limits import (
    FREE_RATIO,
    HOW,
    MAX_DEPTH,
    MAX_FILES,
    MAX_IMAGE_FILE,
    MAX_RATIO,
    MAX_TOTAL,
    MEGABYTE,
)

# Files that operating systems add to folders, besides hidden ones.
_JUNK = {"thumbs.db", "desktop.ini", "__macosx", "@eadir"}
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    NotImplementedError,
)


@dataclass(frozen=True)
class Member:
    """One file of a folder or archive.

    Attributes:
        path: folders and file name, relative to the root.
        size: bytes, uncompressed.
        read: function that returns the content.
    """

    path: tuple[str, ...]
    size: int
    read: Callable[[], bytes]

    @property
    def name(self) -> str:
        """The path in a form that is safe to show in a message."""
        return shown_path(self.path)


@dataclass(frozen=True)
class Listing:
    """The files of a folder or archive, and the paths of all its folders, including empty ones."""

    files: tuple[Member, ...]
    folders: frozenset[tuple[str, ...]]


def shown_path(path: Iterable[str]) -> str:
    """Make an untrusted path one printable line of at most 120 characters."""
    return clean_name("/".join(path)) or "(a name without printable characters)"


def is_junk(name: str) -> bool:
    """Whether the file is hidden or created by an operating system: .DS_Store, Thumbs.db, __MACOSX."""
    return name.startswith(".") or name.lower() in _JUNK


def list_folder(root: Path) -> Listing:
    """List the files of a folder, sorted by path, without hidden ones.

    Raises DataUnavailable for links, special files, folders nested too deeply, and too many or too large files.
    """
    files, folders = list[Member](), set[tuple[str, ...]]()
    waiting: list[tuple[tuple[str, ...], Path]] = [((), root)]
    while waiting:
        path, folder = waiting.pop()
        for entry in _entries(folder, path):
            inner = (*path, entry.name)
            if entry.is_symlink():
                raise DataUnavailable(
                    f"{shown_path(inner)} is a link, and links are not followed. Copy the folder with `cp -rL`, which "
                    "replaces links by files."
                )
            if entry.is_dir(follow_symlinks=False):
                _check_depth(inner)
                folders.add(inner)
                waiting.append((inner, Path(entry.path)))
            elif entry.is_file(follow_symlinks=False):
                size = entry.stat(follow_symlinks=False).st_size
                files.append(Member(inner, size, partial(_read_file, Path(entry.path), inner)))
            else:
                raise DataUnavailable(
                    f"{shown_path(inner)} is not an ordinary file (but a device, pipe or socket). Take it out."
                )
            _check_count(len(files) + len(folders))
    _check_sizes(files)
    return Listing(tuple(sorted(files, key=lambda file: file.path)), frozenset(folders))


def list_zip(archive: zipfile.ZipFile, size: int) -> Listing:
    """List the files of an archive of `size` bytes, sorted by path, without hidden ones.

    Raises DataUnavailable for encryption, unknown compression, links, paths outside the archive, duplicate names, and
    archives that unpack to far more bytes than images do.
    """
    entries = [(_parts(entry), entry) for entry in archive.infolist()]
    _check_count(len(entries))
    members = [(path, entry) for path, entry in entries if path and not any(map(is_junk, path))]
    for path, entry in members:
        _check_entry(path, entry)
    duplicates = [path for path, count in Counter(path for path, _ in members).items() if count > 1]
    if duplicates:
        raise DataUnavailable(
            f"The archive lists {shown_path(duplicates[0])} twice. Make the zip again from the folder."
        )
    files = [Member(p, e.file_size, partial(_read_entry, archive, e, p)) for p, e in members if not e.is_dir()]
    total = sum(file.size for file in files)
    if total > max(FREE_RATIO, MAX_RATIO * size):
        raise DataUnavailable(
            f"The archive of {size / MEGABYTE:,.1f} MB unpacks to {total / MEGABYTE:,.0f} MB, far more than images do. "
            "It was not read. Bring the folder of images itself."
        )
    _check_sizes(files)
    above = {path[:depth] for path, _ in members for depth in range(1, len(path))}
    folders = above | {path for path, entry in members if entry.is_dir()}
    return Listing(tuple(sorted(files, key=lambda file: file.path)), frozenset(folders))


def _entries(folder: Path, path: tuple[str, ...]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_junk(entry.name)]
    except OSError as error:
        raise DataUnavailable(
            f"The folder {shown_path(path or (folder.name,))} cannot be read: {error.strerror}."
        ) from error


def _parts(entry: zipfile.ZipInfo) -> tuple[str, ...]:
    """The folders and the name of an entry. Raises DataUnavailable if its path leads outside the archive."""
    name = entry.filename.replace("\\", "/")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts or re.match("[A-Za-z]:", name):
        raise DataUnavailable(
            f"The archive names a file outside itself ({shown_path(parts)}). It was not read. Make the zip again from "
            "the folder of images."
        )
    return parts


def _check_entry(path: tuple[str, ...], entry: zipfile.ZipInfo) -> None:
    _check_depth(path[:-1])
    if entry.flag_bits & 1:
        raise DataUnavailable("The archive is encrypted. Make the zip again without a password.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise DataUnavailable(f"{shown_path(path)} is a link, and links are not followed. Zip the files themselves.")
    if entry.compress_type not in _READABLE:
        raise DataUnavailable(
            f"{shown_path(path)} is compressed in an unusual way. Make the zip again with any usual tool."
        )


def _check_depth(path: tuple[str, ...]) -> None:
    if len(path) > MAX_DEPTH:
        raise DataUnavailable(
            f"{shown_path(path)} lies {len(path)} folders deep; at most {MAX_DEPTH} are allowed. {HOW}"
        )


def _check_count(count: int) -> None:
    if count > MAX_FILES:
        raise DataUnavailable(f"There are more than {MAX_FILES:,} files, which is the limit. Bring fewer images.")


def _check_sizes(files: list[Member]) -> None:
    large = next((file for file in files if file.size > MAX_IMAGE_FILE), None)
    if large is not None:
        raise DataUnavailable(
            f"{large.name} has {large.size / MEGABYTE:,.0f} MB; at most {MAX_IMAGE_FILE / MEGABYTE:,.0f} MB per file "
            "are allowed. Take it out, or make it smaller."
        )
    total = sum(file.size for file in files)
    if total > MAX_TOTAL:
        raise DataUnavailable(
            f"The files have {total / MEGABYTE:,.0f} MB together; at most {MAX_TOTAL / MEGABYTE:,.0f} MB are allowed. "
            "Bring fewer images, or smaller ones."
        )


def _read_file(file: Path, path: tuple[str, ...]) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataUnavailable(f"{shown_path(path)} cannot be read: {error.strerror}.") from error


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: tuple[str, ...]) -> bytes:
    """Read at most as many bytes as the archive's directory states; a longer entry then fails the checksum."""
    try:
        with archive.open(entry) as file:
            return file.read(entry.file_size)
    except DAMAGED_ZIP as error:
        raise DataUnavailable(f"{shown_path(path)} is damaged within the archive. Make the zip again.") from error
