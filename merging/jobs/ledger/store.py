"""Store of files named by the sha256 of their content. Writes are atomic, and every read checks the content."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from merging.errors import HomeUnusable, InvalidRequest, MergescopeError

PARTIAL = ".partial"
Content = bytes | Path  # content of an artifact, or a file that holds it


@dataclass(frozen=True)
class Store:
    """A folder of files `ab/abcdef...`. limit: allowed bytes of all files together, None for no limit."""

    folder: Path
    limit: int | None = None

    def put(self, content: Content, freed: int = 0, sha256: str = "") -> str:
        """Store bytes, or move a file on the same disk into the store; return the hexadecimal sha256 of the content.

        Args:
            content: bytes, or the path of a file.
            freed: total bytes of released files that will be deleted soon.
            sha256: hash of the content if it is known, otherwise "".
        Raises:
            InvalidRequest: the store would exceed its limit.
        """
        sha256 = sha256 or sha256_of(content)
        path = self.path(sha256)
        if path.is_file():
            return sha256
        if self.limit is not None and self.size() - freed + content_size(content) > self.limit:
            raise self.full()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise HomeUnusable(
                f"{self.folder} must be a folder of files, but a file is in its way. Remove it."
            ) from error
        if isinstance(content, Path):  # its creator has already synced it to the disk
            content.replace(path)
            return sha256
        partial = path.with_name(f"{sha256}.{secrets.token_hex(4)}{PARTIAL}")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return sha256

    def get(self, sha256: str) -> bytes:
        """Bytes of the file with this name. Raises MergescopeError if it is missing, or damaged (then deletes it)."""
        path = self.path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise MergescopeError(f"The file {sha256[:12]} is no longer in the store. Run the job again.") from None
        except OSError as error:
            raise MergescopeError(f"The stored file {path} cannot be read: {error.strerror}.") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            path.unlink(missing_ok=True)
            raise MergescopeError(f"The stored file {sha256[:12]} was damaged and has been removed. Run the job again.")
        return data

    def has(self, sha256: str) -> bool:
        """Whether there is a file with this name. Only `get` checks its content."""
        return self.path(sha256).is_file()

    def delete(self, sha256: str) -> None:
        """Delete the file if there is one."""
        self.path(sha256).unlink(missing_ok=True)

    def size(self) -> int:
        """Bytes of all files together."""
        return sum(path.stat().st_size for path in self.folder.glob("??/*") if path.suffix != PARTIAL)

    def size_of(self, sha256: str) -> int:
        """Bytes of the file with this name, 0 if there is none."""
        path = self.path(sha256)
        return path.stat().st_size if path.is_file() else 0

    def old_names(self, seconds: float) -> list[str]:
        """Names of the whole files that were last changed more than this many seconds ago."""
        before = time.time() - seconds
        whole = (path for path in self.folder.glob("??/*") if path.suffix != PARTIAL)
        return [path.name for path in whole if path.stat().st_mtime < before]

    def full(self) -> InvalidRequest:
        """Return the error that says that the store is full."""
        return InvalidRequest(
            f"The store is full ({(self.limit or 0) / 1e6:,.0f} MB). Delete runs or models,"
            " or raise MERGESCOPE_STORE_MB."
        )

    def path(self, sha256: str) -> Path:
        """Path of the file. Raises InvalidRequest unless the name is a sha256, so that no name leads elsewhere."""

        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise InvalidRequest(f"The name of a stored file must be a sha256; got {sha256[:80]!r}.")
        return self.folder / sha256[:2] / sha256


def sha256_of(content: Content) -> str:
    """Hexadecimal hash of bytes or of a file, which is read in pieces."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_size(content: Content) -> int:
    """Number of bytes of the content."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size
