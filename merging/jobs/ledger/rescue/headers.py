"""The header of a damaged ledger's file and of its write-ahead log, as they must be."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

MAGIC = b"SQLite format 3\0"
HEADER = 100  # bytes
FLIPPED = 4  # most damaged bytes of MAGIC by which a ledger is still recognised
PAGE = 4096  # bytes; SQLite's usual size of pages
# Place in the header, usual bytes, allowed bytes: journal modes, fractions, format of the schema, UTF-8.
# The last two are 0 in a file without tables.
FIELDS = (
    (18, b"\2\2", (b"\1\1", b"\2\2")),
    (21, b"\x40\x20\x20", (b"\x40\x20\x20",)),
    (44, b"\0\0\0\4", tuple(bytes((0, 0, 0, n)) for n in range(5))),
    (56, b"\0\0\0\1", tuple(bytes((0, 0, 0, n)) for n in range(2))),
)
WAL_HEAD, FRAME = 32, 24 + PAGE  # bytes of a write-ahead log's header, and of a frame, which has one page
WAL_ORDERS = {b"\x37\x7f\x06\x82": "<", b"\x37\x7f\x06\x83": ">"}  # magic -> order of bytes in checksums, as in struct
ZERO = bytes(8)  # checksum before the first word
WAL_FORMAT = (3_007_000).to_bytes(4) + PAGE.to_bytes(4)


def header_mended(path: Path) -> bytes | None:
    """Return the first bytes of the file as they must be, if a few of them are damaged; otherwise None.

    Without them SQLite opens nothing, although the rows may be whole. See https://www.sqlite.org/fileformat.html.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(HEADER)
    alike = sum(ours == theirs for ours, theirs in zip(MAGIC, head, strict=False))
    if len(head) < HEADER or alike < len(MAGIC) - FLIPPED:  # a new file, or one of another program
        return None
    mended = bytearray(head)
    mended[: len(MAGIC)] = MAGIC
    for at, right, allowed in FIELDS:
        if mended[at : at + len(right)] not in allowed:
            mended[at : at + len(right)] = right
    if int.from_bytes(mended[28:32]) * PAGE == path.stat().st_size:  # the number of pages
        mended[16:18] = PAGE.to_bytes(2)
    return bytes(mended) if mended != head else None


def wal_mended(path: Path) -> bytes | None:
    """The write-ahead log of a ledger with its header mended; None if the header is right, or there are no frames.

    SQLite would drop all rows of the log without a word. Frames whose checksums do not go on from those before them are
    left out: they may be of a transaction that never ended. See https://www.sqlite.org/fileformat.html#walformat.
    """
    wal = path.with_name(f"{path.name}-wal")
    for pause in (0.1, 0.0):  # another program may be writing the header at this moment
        head = _start_of(wal, WAL_HEAD)
        if len(head) < WAL_HEAD or _checksum(head[:24], ZERO, WAL_ORDERS.get(head[:4], "<")) == head[24:]:
            return None
        time.sleep(pause)
    data = _start_of(wal)
    frames = [data[at : at + FRAME] for at in range(WAL_HEAD, len(data) - FRAME + 1, FRAME)]
    if not frames:
        return None
    # The flipped bit spoils the order of bytes, the header's checksum, or what this is computed from, but not all.
    starts = [(start, order) for order in "<>" for start in (head[24:], _checksum(head[:24], ZERO, order))]
    chain, order = max(((_chain(frames, *start), start[1]) for start in starts), key=lambda found: len(found[0]))
    magic = next(magic for magic, known in WAL_ORDERS.items() if known == order)
    right = magic + WAL_FORMAT + head[12:16] + frames[0][8:16]
    sums = _checksum(right, ZERO, order)
    right += sums
    for frame in chain:
        sums = _checksum(frame[:8] + frame[24:], sums, order)
        right += frame[:16] + sums + frame[24:]
    return right


def write_log(path: Path) -> None:
    """Write the whole transactions of an SQLite file's write-ahead log into the file, and delete the log.

    The file's header gets the number of its pages, by which SQLite finds the end of the rows.
    """
    wal = path.with_name(f"{path.name}-wal")
    data = _start_of(wal)
    head = data[:WAL_HEAD]
    frames = [data[at : at + FRAME] for at in range(WAL_HEAD, len(data) - FRAME + 1, FRAME)]
    chain = _chain(frames, head[24:], WAL_ORDERS.get(head[:4], "<")) if frames else []
    chain = [frame for frame in chain if frame[8:16] == head[16:24]]  # others are left from an earlier log
    last = max((number for number, frame in enumerate(chain, 1) if any(frame[4:8])), default=0)  # ends a transaction
    with path.open("r+b") as file:
        for frame in chain[:last]:
            file.seek((int.from_bytes(frame[:4]) - 1) * PAGE)
            file.write(frame[24:])
        file.seek(28)
        file.write((path.stat().st_size // PAGE).to_bytes(4))
    wal.unlink(missing_ok=True)


def _start_of(file: Path, size: int = -1) -> bytes:
    """The first bytes of a file, or all; b"" if there is none, as when another program has just removed it."""
    if file.is_file():  # a pipe would block
        with suppress(FileNotFoundError), file.open("rb") as opened:
            return opened.read(size)
    return b""


def _chain(frames: Sequence[bytes], sums: bytes, order: str) -> list[bytes]:
    """The first frames of a write-ahead log whose checksums go on from `sums`."""
    chain = []
    for frame in frames:
        sums = _checksum(frame[:8] + frame[24:], sums, order)
        if sums != frame[16:24]:
            break
        chain.append(frame)
    return chain


def _checksum(data: bytes, before: bytes, order: str) -> bytes:
    """The checksum (8 bytes) of a write-ahead log, going on from `before`. order: of bytes in a word, as in struct."""
    first, second = struct.unpack(">2I", before)
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return struct.pack(">2I", first, second)
