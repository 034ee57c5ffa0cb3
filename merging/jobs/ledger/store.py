"""Files named by the sha256 of their content: written whole or not at all, checked on every read."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from merging.errors import InvalidRequest, MergescopeError

PARTIAL = ".partial"
Content = bytes | Path  # of an artifact: itself, or a file that holds it


@dataclass(frozen=True)
class Store:
    """A folder of files `ab/abcdef...`. limit: bytes of all files together, None for no bound."""

    folder: Path
    limit: int | None = None

    def put(self, content: Content, freed: int = 0, sha256: str = "") -> str:
        """Keep bytes, or a file of the same disk, which is moved here; gives the content's sha256 in hexadecimal.

        freed: bytes of files that are given up already and about to be deleted.  sha256: of the content, where known.
        Raises InvalidRequest where the store would burst.
        """
        sha256 = sha256 or sha256_of(content)
        path = self.path(sha256)
        if path.is_file():
            return sha256
        if self.limit is not None and self.size() - freed + size_of(content) > self.limit:
            raise self.full()
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):  # written and synced by whoever made it
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
        """The bytes of that name. Raises MergescopeError where they are missing or damaged (and removes them)."""
        path = self.path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise MergescopeError(f"The file {sha256[:12]} is no longer in the store. Run the job again.") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            path.unlink(missing_ok=True)
            raise MergescopeError(f"The stored file {sha256[:12]} was damaged and has been removed. Run the job again.")
        return data

    def has(self, sha256: str) -> bool:
        """Whether a file of that name is there; its content is checked by `get`."""
        return self.path(sha256).is_file()

    def delete(self, sha256: str) -> None:
        """Remove the file; nothing happens where there is none."""
        self.path(sha256).unlink(missing_ok=True)

    def size(self) -> int:
        """Bytes of all files together."""
        return sum(path.stat().st_size for path in self.folder.glob("??/*") if path.suffix != PARTIAL)

    def size_of(self, sha256: str) -> int:
        """Bytes of the file of that name, 0 where there is none."""
        path = self.path(sha256)
        return path.stat().st_size if path.is_file() else 0

    def full(self) -> InvalidRequest:
        """The words of a store that can take no more."""
        return InvalidRequest(
            f"The store is full ({(self.limit or 0) / 1e6:,.0f} MB): delete runs or models,"
            " or raise MERGESCOPE_STORE_MB."
        )

    def path(self, sha256: str) -> Path:
        """Where the file lies. Raises InvalidRequest for anything that is not a sha256: no path comes from a name."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise InvalidRequest(f"A stored file is named by a sha256; got {sha256[:80]!r}.")
        return self.folder / sha256[:2] / sha256


def sha256_of(content: Content) -> str:
    """The hash of bytes, or of a file's bytes, in hexadecimal. A file is read piece by piece."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def size_of(content: Content) -> int:
    """Bytes of the content."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size
