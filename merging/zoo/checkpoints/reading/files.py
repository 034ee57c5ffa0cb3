"""Read the networks of a checkpoint file of any kind: this module alone chooses the reader for a file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from merging.errors import CheckpointError
from merging.zoo.checkpoints.programs import program_story
from merging.zoo.checkpoints.reading import safetensors_io, torch_file
from merging.zoo.checkpoints.reading.contents import Contents, contents_of
from merging.zoo.checkpoints.reading.kinds import HOW, kind_of
from merging.zoo.checkpoints.reading.limits import MAX_FILE, MAX_HEADER, MAX_TENSORS, MEGABYTE, UNPACKED_SPARE
from merging.zoo.checkpoints.reading.opening import read_whole
from merging.zoo.checkpoints.reading.programs.program import Exported, is_exported_program
from merging.zoo.checkpoints.reading.programs.program import read_program as read_program
from merging.zoo.checkpoints.reading.tensors import Loaded, checked
from merging.zoo.datasets.reading.files import is_junk

INDEX = ".safetensors.index.json"
PART = ".safetensors"


@dataclass(frozen=True, eq=False)
class File:
    """The networks of a file.

    Attributes:
        networks: path inside the file ("" for the file itself) -> the network's tensors under the file's names.
        aside: keys of everything else in the file.
        format: the writer of the file, such as "torch.save".
        story: Mergescope's own metadata, unchecked, or {}.
    """

    networks: Mapping[str, Loaded]
    aside: tuple[str, ...] = ()
    format: str = "safetensors"
    story: Mapping[str, Any] = field(default_factory=dict)


def read_file(data: bytes) -> File:
    """Read the networks in a file's bytes. The bytes may be a pickle, so only the disposable process calls this.

    Raises CheckpointError naming the kind of a file that is not a checkpoint, or the first fault in it.
    """
    kind = kind_of(data)
    if kind == "safetensors":
        return read_safetensors(data)
    if kind == "zip":
        if is_exported_program(data):
            return _program(read_program(data))
        with _archive(data) as archive:
            names = archive.namelist()
            if any(name.endswith((PART, INDEX)) for name in names):
                return _unpacked(archive, len(data))
    return _of(contents_of(torch_file.load_torch_file(data)), {}, "torch.save")


def _program(exported: Exported) -> File:
    """Make a File whose only network is an exported program, with the program in its story."""
    story = program_story(exported.program)
    loaded = Loaded(exported.state, exported.aliases, exported.was, exported.constants, story)
    return File({"": loaded}, (), f"torch.export ({exported.program.torch or 'unknown version'})", story)


def read_safetensors(data: bytes) -> File:
    """Read a safetensors file: one network, unless several of one structure have different prefixes."""
    loaded = safetensors_io.read_tensors(data)
    if loaded.story:
        return File({"": loaded}, story=loaded.story)
    return _of(contents_of(loaded.state), {"": loaded}, "safetensors")


def read_folder(folder: Path) -> File:
    """Read a folder of safetensors files: the files that its index lists, or the only file.

    Raises CheckpointError when there is no file, or several without an index, and the errors of `read_safetensors`.
    """
    return _joined(folder_files(folder), lambda name: read_whole(folder / name), f"The folder {folder.name}")


def folder_files(folder: Path) -> list[str]:
    """Names of a folder's safetensors files and indexes. Raises CheckpointError when their total size is too large."""
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.name.endswith((PART, INDEX)) and path.is_file() and not is_junk(path.name)
    )
    total = sum((folder / name).stat().st_size for name in names)
    if total > MAX_FILE:
        raise CheckpointError(
            f"The folder's files have {total // MEGABYTE} MB; at most {MAX_FILE // MEGABYTE} MB are read."
        )
    return names


def _unpacked(archive: zipfile.ZipFile, size: int) -> File:
    """Read the safetensors files in a zip of this many bytes, with or without an index, in any folder of it."""
    files = [
        entry
        for entry in archive.infolist()
        if not entry.is_dir() and not any(map(is_junk, PurePosixPath(entry.filename).parts))
    ]
    entries = {PurePosixPath(entry.filename).name: entry for entry in files}
    names = [name for entry in files if (name := PurePosixPath(entry.filename).name).endswith((PART, INDEX))]
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CheckpointError(f"The archive holds several files called {twice}. Upload each network by itself.")
    total = sum(entry.file_size for entry in entries.values())
    if total > MAX_FILE or any(e.flag_bits & 1 for e in entries.values()):
        raise CheckpointError(
            f"The archive is encrypted, or unpacks to more than {MAX_FILE // MEGABYTE} MB. It was not loaded."
        )
    if total > 2 * size + UNPACKED_SPARE:
        raise CheckpointError(
            f"The archive of {size / MEGABYTE:,.1f} MB unpacks to {total // MEGABYTE:,} MB, more than its reader may "
            "use. Upload the file in it by itself."
        )

    def content(name: str) -> bytes:
        try:
            return archive.read(entries[name])
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
            raise CheckpointError(f"{name} in the archive is damaged. Create the archive again.") from error

    return _joined(sorted(name for name in entries if name.endswith((PART, INDEX))), content, "The archive")


def _joined(names: Iterable[str], content: Callable[[str], bytes], where: str) -> File:
    """Join the tensors of several safetensors files, as their index lists them, into one file."""
    homes = weight_map(names, content, where)
    if isinstance(homes, str):
        return read_safetensors(content(homes))
    loaded = {part: safetensors_io.read_tensors(content(part)) for part in sorted(set(homes.values()))}
    missing = [name for name, part in homes.items() if name not in loaded[part].state]
    if missing:
        raise CheckpointError(f"{homes[missing[0]]} does not hold {missing[0]}, as the index says. Download it again.")
    state = {name: loaded[part].state[name] for name, part in homes.items()}
    file = _of(contents_of(state), {}, "safetensors, in parts")
    was = tuple(sorted({kind for one in loaded.values() for kind in one.was}))
    return replace(file, networks={place: replace(one, was=was) for place, one in file.networks.items()})


def weight_map(names: Iterable[str], content: Callable[[str], bytes], where: str) -> dict[str, str] | str:
    """Tensor name -> file name, as the index in `names` lists them; or the name of the only file, without an index.

    content: function from a file's name to its bytes.  where: the folder or archive, for messages.
    Raises CheckpointError when there are several files without an index, or the index does not fit the files.
    """
    names = list(names)
    indexes, parts = ([name for name in names if name.endswith(ending)] for ending in (INDEX, PART))
    if len(indexes) > 1 or not parts or (not indexes and len(parts) > 1):
        listed = ", ".join(names[:4]) or "none"
        raise CheckpointError(
            f"{where} must hold one safetensors file, or several with their model{INDEX}; its files: {listed}."
        )
    return _weight_map(content(indexes[0]), parts) if indexes else parts[0]


def _weight_map(data: bytes, parts: Iterable[str]) -> dict[str, str]:
    try:
        table = json.loads(data[:MAX_HEADER])["weight_map"]
        homes = {str(name): str(part) for name, part in table.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError("The index of the safetensors files is damaged: it has no weight_map.") from error
    missing = sorted(set(homes.values()) - set(parts))
    if missing:
        raise CheckpointError(f"The index names {', '.join(missing[:3])}, which is missing. Bring all of its files.")
    if not 0 < len(homes) <= MAX_TENSORS:
        raise CheckpointError(f"The index lists {len(homes)} tensors; 1 to {MAX_TENSORS} are allowed.")
    return homes


def _of(contents: Contents, whole: Mapping[str, Loaded], format: str) -> File:
    """Check these networks' tensors and make a File. whole: path -> network, for networks that are checked already."""
    networks = {path: whole[path] if path in whole else checked(tensors) for path, tensors in contents.networks.items()}
    return File(networks, contents.aside, format)


def _archive(data: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError) as error:
        raise CheckpointError(f"The file is cut off or damaged: its directory cannot be read. {HOW}") from error
