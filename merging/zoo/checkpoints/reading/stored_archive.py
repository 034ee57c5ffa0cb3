"""Read zip archives as torch writes them, uncompressed; the directory is checked against the bytes before any use."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from itertools import pairwise

from merging.errors import CheckpointError
from merging.zoo.checkpoints.reading.limits import shown

_LOCAL = struct.Struct("<4s5H3I2H")  # a zip entry's local header, up to its name
_BROKEN = (
    zipfile.BadZipFile,
    ValueError,
    NotImplementedError,
    OSError,
    EOFError,
    LookupError,
    struct.error,
    RuntimeError,
)


def directory(data: bytes, again: str) -> tuple[list[zipfile.ZipInfo], int]:
    """The archive's entries, and the offset of its directory in bytes. again: advice to end the error message with.

    Raises CheckpointError when the directory cannot be read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.infolist(), archive.start_dir
    except _BROKEN as error:
        raise CheckpointError(f"The file is cut off or damaged: its directory cannot be read. {again}") from error


def contents(data: bytes, listed: list[zipfile.ZipInfo], start: int, again: str) -> dict[str, memoryview]:
    """Path of each entry -> its content, not copied.

    Args:
        listed, start: the entries and the directory's offset, as `directory` returns them.
        again: advice to end the error message with.
    Raises:
        CheckpointError: when entries are compressed, share bytes, contradict the directory or have a wrong checksum.
            Checksums are not compared where the archive has none (`torch.serialization.set_crc32_options(False)`).
    """
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in listed):
        raise CheckpointError("The archive is compressed or encrypted, which torch never does. It was not loaded.")
    if sum(entry.file_size for entry in listed) > len(data) or len({entry.filename for entry in listed}) < len(listed):
        raise CheckpointError("The archive's entries overlap: it claims to hold more than it does. It was not loaded.")
    spans = sorted((entry.header_offset, *_span(data, entry, start, again), entry.filename) for entry in listed)
    for (_, _, end, _), (begin, *_) in pairwise(spans):
        if begin < end:
            raise CheckpointError("The archive's entries overlap: two share the same bytes. It was not loaded.")
    whole = memoryview(data)
    sums = {entry.filename: entry.CRC for entry in listed}
    if any(sums.values()):
        for _, begin, end, name in spans:
            if zlib.crc32(whole[begin:end]) != sums[name]:
                raise CheckpointError(f"The archive is damaged: {shown(name)} has a wrong checksum. Copy it again.")
    return {name: whole[begin:end] for _, begin, end, name in spans}


def _span(data: bytes, entry: zipfile.ZipInfo, limit: int, again: str) -> tuple[int, int]:
    """Start and end offset of an entry's content. Raises CheckpointError when the entry contradicts the directory."""
    at = entry.header_offset
    header = data[at : at + _LOCAL.size] if at >= 0 else b""
    if len(header) < _LOCAL.size:
        raise CheckpointError(f"The archive is damaged: an entry lies outside of it. {again}")
    mark, _, flags, method, *_, name_length, extra_length = _LOCAL.unpack(header)
    name = data[at + _LOCAL.size : at + _LOCAL.size + name_length]
    begin = at + _LOCAL.size + name_length + extra_length
    end = begin + entry.file_size
    same = mark == b"PK\x03\x04" and method == zipfile.ZIP_STORED and not flags & 1
    named = entry.orig_filename.encode("utf-8" if flags & 0x800 else "cp437", "replace")
    if not same or name != named or entry.file_size != entry.compress_size or end > limit:
        raise CheckpointError(f"The archive is damaged: {shown(entry.filename)} contradicts the directory. {again}")
    return begin, end
