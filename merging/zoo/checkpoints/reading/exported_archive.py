"""The archive of an exported program: its directory is checked against the bytes before any entry is used."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from itertools import pairwise

from merging.errors import CheckpointError
from merging.network.graph.program_operators import AGAIN
from merging.zoo.checkpoints.reading.limits import MAX_TENSORS, shown

_OLD = ("serialized_exported_program.json", "serialized_state_dict.pt", "serialized_state_dict.json")
_LOCAL = struct.Struct("<4s5H3I2H")  # a zip entry's own header, before its name
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


def is_exported_program(data: bytes) -> bool:
    """Whether a file is an archive as torch.export.save writes, of today's layout or of an older one."""
    if not data.startswith(b"PK"):
        return False
    try:
        names = [entry.filename for entry in _directory(data)[0]]
    except CheckpointError:
        return False
    return any(name in _OLD or _is_model(name.partition("/")[2]) for name in names)


def entries(data: bytes) -> dict[str, memoryview]:
    """Path in the archive, without its top folder -> content, uncompressed and not copied.

    Raises CheckpointError where the archive is damaged, compressed, of an older layout, claims more than it has, or
    holds names that torch does not write.
    """
    listed, start = _directory(data)
    if any(entry.filename in _OLD for entry in listed):
        raise CheckpointError(
            f"The file was exported by an older torch, whose layout is not read. Install a newer one. {AGAIN}"
        )
    if len(listed) > 3 * MAX_TENSORS:
        raise CheckpointError(f"The archive lists {len(listed):,} parts; at most {MAX_TENSORS:,} tensors are read.")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in listed):
        raise CheckpointError(
            "The archive is compressed or encrypted, which torch.export.save never does. It was not loaded."
        )
    if sum(entry.file_size for entry in listed) > len(data) or len({entry.filename for entry in listed}) < len(listed):
        raise CheckpointError("The archive's entries overlap: it claims to hold more than it has. It was not loaded.")
    roots = {_checked_name(entry).split("/")[0] for entry in listed}
    if len(roots) != 1:
        raise CheckpointError(f"The archive has no single top folder, as torch.export.save makes. {AGAIN}")
    spans = sorted((entry.header_offset, *_content(data, entry, start), entry.filename) for entry in listed)
    for (_, _, end, _), (begin, *_) in pairwise(spans):
        if begin < end:
            raise CheckpointError("The archive's entries overlap: two share the same bytes. It was not loaded.")
    whole = memoryview(data)
    return {name.partition("/")[2]: whole[begin:end] for _, begin, end, name in spans}


def _directory(data: bytes) -> tuple[list[zipfile.ZipInfo], int]:
    """The archive's entries, and where its directory starts."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.infolist(), archive.start_dir
    except _BROKEN as error:
        raise CheckpointError(f"The file is cut off or damaged: its directory cannot be read. {AGAIN}") from error


def _is_model(name: str) -> bool:
    return name.startswith("models/") and name.endswith(".json")


def _checked_name(entry: zipfile.ZipInfo) -> str:
    name, (root, *parts) = entry.filename, entry.filename.split("/")
    plain = all(part.isascii() and not {*part} & {"\\", ":"} for part in parts) and "\\" not in root
    plain = plain and name == entry.orig_filename and name.isprintable() and len(name) <= 300
    if not plain or not parts or {"", ".", ".."} & {root, *parts}:
        raise CheckpointError(
            f"The archive holds {shown(name)}, a path that torch.export.save does not write. It was not loaded."
        )
    return name


def _content(data: bytes, entry: zipfile.ZipInfo, limit: int) -> tuple[int, int]:
    """Where an entry's content lies. Raises CheckpointError where its own header says otherwise than the directory."""
    at = entry.header_offset
    header = data[at : at + _LOCAL.size]
    if at < 0 or len(header) < _LOCAL.size:
        raise CheckpointError(f"The archive is damaged: an entry lies outside of it. {AGAIN}")
    mark, _, flags, method, *_, name_length, extra_length = _LOCAL.unpack(header)
    name = data[at + _LOCAL.size : at + _LOCAL.size + name_length]
    begin = at + _LOCAL.size + name_length + extra_length
    end = begin + entry.file_size
    same = mark == b"PK\x03\x04" and method == zipfile.ZIP_STORED and not flags & 1
    named = entry.orig_filename.encode("utf-8" if flags & 0x800 else "cp437", "replace")
    if not same or name != named or entry.file_size != entry.compress_size or end > limit:
        raise CheckpointError(f"The archive is damaged: {shown(entry.filename)} is not as its directory says. {AGAIN}")
    if zlib.crc32(memoryview(data)[begin:end]) != entry.CRC:
        raise CheckpointError(f"The archive is damaged: {shown(entry.filename)} has a wrong checksum. Copy it again.")
    return begin, end
