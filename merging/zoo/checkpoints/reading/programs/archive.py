"""Open the archive of an exported program; its directory is checked against the bytes before any entry is used."""

from __future__ import annotations

import zipfile

from merging.errors import CheckpointError
from merging.network.programs.operators import AGAIN
from merging.zoo.checkpoints.reading.limits import MAX_TENSORS, shown
from merging.zoo.checkpoints.reading.stored_archive import contents, directory

_OLD = ("serialized_exported_program.json", "serialized_state_dict.pt", "serialized_state_dict.json")


def is_exported_program(data: bytes) -> bool:
    """Whether a file is an archive of torch.export.save, in its present layout or in an older one."""
    if not data.startswith(b"PK"):
        return False
    try:
        names = [entry.filename for entry in directory(data, AGAIN)[0]]
    except CheckpointError:
        return False
    return any(name in _OLD or _is_model(name.partition("/")[2]) for name in names)


def archive_entries(data: bytes) -> dict[str, memoryview]:
    """Path in the archive, without its top folder -> content, not copied.

    Raises CheckpointError when the archive is damaged or compressed, has an older layout, claims more bytes than it
    holds, or holds names that torch does not write.
    """
    listed, start = directory(data, AGAIN)
    if any(entry.filename in _OLD for entry in listed):
        raise CheckpointError(
            f"The file was exported by an older torch, whose layout is not read. Install a newer one. {AGAIN}"
        )
    if len(listed) > 3 * MAX_TENSORS:
        raise CheckpointError(f"The archive lists {len(listed):,} parts; at most {MAX_TENSORS:,} tensors are read.")
    roots = {_checked_name(entry).split("/")[0] for entry in listed}
    if len(roots) != 1:
        raise CheckpointError(f"The archive does not have a single top folder, as torch.export.save makes. {AGAIN}")
    content_of_path = contents(data, listed, start, AGAIN)
    return {name.partition("/")[2]: content for name, content in content_of_path.items()}


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
