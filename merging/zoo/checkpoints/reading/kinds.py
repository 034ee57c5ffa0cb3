"""What kind of file the first bytes say it is. torch-free."""

from __future__ import annotations

from typing import Literal

from merging.errors import CheckpointError
from merging.zoo.checkpoints.reading.limits import MAX_FILE, MEGABYTE

Kind = Literal["safetensors", "torch.save", "zip"]  # zip: by its entries a torch.save file, a program or files in it
HOW = 'Bring a safetensors file, or one written by torch.save(model.state_dict(), "model.pt").'

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number of torch.save before PyTorch 1.6
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x80", "is a bare pickle, which could run any program"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes"),
    (b"\x93NUMPY", "is a NumPy array"),
    (b"GGUF", "is a GGUF file of a language model"),
    (b"\x1f\x8b", "is compressed with gzip"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"),
)


def kind_of(data: bytes, size: int | None = None) -> Kind:
    """The kind of a checkpoint file from its first bytes; size: of the whole file where `data` is only its start.

    Raises CheckpointError naming what the file is instead, or that it is empty or too large.
    """
    size = len(data) if size is None else size
    if size == 0:
        raise CheckpointError(f"The file is empty. {HOW}")
    if size > MAX_FILE:
        raise CheckpointError(f"The file has {size // MEGABYTE} MB; at most {MAX_FILE // MEGABYTE} MB are read.")
    if data[4:9] == b"\0\0\0\0{":  # first of all: a safetensors file begins with a length, which may look like a mark
        return "safetensors"
    if data.startswith(b"PK"):
        return "zip"
    if data.startswith(_LEGACY):
        return "torch.save"
    for start, what in _FOREIGN:
        if data.startswith(start):
            raise CheckpointError(f"The file {what}. {HOW}")
    if data[:300].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError("The file is a web page: the download of the checkpoint failed. Download it again.")
    if data[8:9] == b"{":
        return "safetensors"
    raise CheckpointError(f"The file is no checkpoint that is known here. {HOW}")
