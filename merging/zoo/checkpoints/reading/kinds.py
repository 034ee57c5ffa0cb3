"""Kind of a checkpoint file, by its first bytes. torch-free."""

from __future__ import annotations

from typing import Literal

from merging.errors import CheckpointError
from merging.zoo.checkpoints.reading.limits import MAX_FILE, MEGABYTE

Kind = Literal["safetensors", "torch.save", "zip"]  # a zip's entries decide: torch.save, .pt2, safetensors
HOW = 'Bring a safetensors file, or one written by torch.save(model.state_dict(), "model.pt").'

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number of torch.save before PyTorch 1.6
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x80", "is a bare pickle, which could run arbitrary code"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes"),
    (b"\x93NUMPY", "is a NumPy array"),
    (b"GGUF", "is a GGUF file of a language model"),
    (b"\x1f\x8b", "is compressed with gzip"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"),
)


def kind_of(data: bytes, size: int | None = None) -> Kind:
    """Return the kind of a checkpoint file.

    data: its first bytes, or the whole file.  size: bytes of the whole file; None if `data` is the whole file.
    Raises CheckpointError when the file is empty, too large, or of another kind, which the message names.
    """
    size = len(data) if size is None else size
    if size == 0:
        raise CheckpointError(f"The file is empty. {HOW}")
    if size > MAX_FILE:
        raise CheckpointError(f"The file has {size // MEGABYTE} MB; at most {MAX_FILE // MEGABYTE} MB are read.")
    # This test comes first: a safetensors file begins with a length, whose bytes may equal another kind's signature.
    if data[4:9] == b"\0\0\0\0{":
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
    raise CheckpointError(f"The file is not a known kind of checkpoint. {HOW}")
