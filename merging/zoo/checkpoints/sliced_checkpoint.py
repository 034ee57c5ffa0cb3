"""Checkpoints whose tensors stay in the file: recognised by names and shapes, then read one tensor at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from merging.errors import CheckpointError, UnsupportedOperation
from merging.network.lazy_tensors import LazyTensors
from merging.zoo.architectures import build
from merging.zoo.architectures.names import PROGRAM
from merging.zoo.architectures.normalise import load_strictly
from merging.zoo.architectures.weightless import weightless
from merging.zoo.checkpoints.checkpoint import Checkpoint, content_sha256, from_file
from merging.zoo.checkpoints.metadata import Story, clean_name
from merging.zoo.checkpoints.own import is_factory
from merging.zoo.checkpoints.reading.sliced import SlicedFile, is_sliceable, read_sliced
from merging.zoo.checkpoints.streamed_writing import checkpoint_chunks


@dataclass(frozen=True, eq=False)
class SlicedCheckpoint:
    """A checkpoint whose tensors are read from its file on demand.

    Attributes:
        checkpoint: as `load_checkpoint` returns it, but with tensors on the meta device.
        slices: reader of the tensors' values.
    """

    checkpoint: Checkpoint
    slices: SlicedFile

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """Name -> tensor of any shape, in the order of `checkpoint.state`, read from the file at each access.

        Raises CheckpointError as `SlicedFile.read` does.
        """
        return LazyTensors(tuple(self.checkpoint.state), self._read)

    def build(self) -> nn.Module:
        """Build the network in eval mode, with parameters on the meta device and buffers with their values.

        Raises UnsupportedOperation when parameters are tied.
        """
        known = self.checkpoint
        with weightless():
            module = build(known.architecture, known.config, known.mean, known.std)
        parameters = dict(module.named_parameters(remove_duplicate=False))
        if tied := parameters.keys() - dict(module.named_parameters()).keys():
            raise UnsupportedOperation(
                f"{min(tied)} is tied to another weight; such networks cannot be read one tensor at a time."
            )
        state = {name: tensor if name in parameters else self.tensors[name] for name, tensor in known.state.items()}
        return load_strictly(module, state, assign=True)

    def sha256(self) -> str:
        """SHA-256 of the bytes that `Checkpoint.to_bytes` would return; requests identify the checkpoint by this hash.

        All values are read. Raises CheckpointError when they are not finite.
        """
        digest = hashlib.sha256()
        known = self.checkpoint
        for chunk in checkpoint_chunks(known.state, self.tensors, _story(known), known.names):
            digest.update(chunk)
        return digest.hexdigest()

    def _read(self, name: str) -> Tensor:
        tensor = self.checkpoint.state[name]
        return self.slices.read(tensor) if tensor.is_meta else tensor.clone()


def open_sliced(path: str | Path, *, architecture: str | None = None, **known: Any) -> SlicedCheckpoint:
    """Open a safetensors file, or a folder of them with an index, without reading any values.

    architecture, known: the arguments of `load_checkpoint`, except `data` and `programs`.
    Raises the errors of `load_checkpoint`, and CheckpointError when the file cannot be read one tensor at a time.
    """
    path = Path(path)
    try:
        if is_factory(architecture or "") or not is_sliceable(path):
            raise CheckpointError(
                f"{path} cannot be read one tensor at a time: only safetensors files of known networks can."
            )
        slices = read_sliced(path)
        sha256 = content_sha256(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    checkpoint = from_file(slices.file, sha256, architecture=architecture, **known)
    if checkpoint.architecture == PROGRAM:
        raise CheckpointError(f"{path} cannot be read one tensor at a time: it is an exported program.")
    named = checkpoint if checkpoint.name else replace(checkpoint, name=clean_name(path.stem))
    return SlicedCheckpoint(named, slices)


def _story(known: Checkpoint) -> Story:
    """The metadata that `Checkpoint.to_bytes` writes beside the tensors."""
    fields = {
        key: getattr(known, key) for key in ("architecture", "config", "dataset", "classes", "mean", "std", "seed")
    }
    return Story(clean_name(known.name), **fields, epochs=known.epochs)
