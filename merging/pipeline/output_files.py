"""The networks of a merge as files, written tensor by tensor: all of them, or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from merging.errors import InvalidRequest, MergescopeError
from merging.network.lazy_tensors import LazyTensors
from merging.pipeline.streamed_net import StreamedNet
from merging.progress import Progress
from merging.zoo.checkpoints.metadata import Story, clean_name
from merging.zoo.checkpoints.streamed_writing import checkpoint_chunks

NETWORKS = ("merge.safetensors", "aligned.safetensors", "naive.safetensors")


def write_networks(
    out: Path, like: StreamedNet, networks: Mapping[str, tuple[str, Mapping[str, Tensor]]], report: Progress
) -> None:
    """Write networks into the folder `out`, all of them or, where one cannot be made, none.

    like: the network that they are structured and described as.  networks: file name -> what the network is called, and
    its tensors, name -> tensor of any shape; each is asked for once.
    Raises InvalidRequest where the files cannot be written, and what making a tensor raises.
    """
    known = like.checkpoint
    size = sum(tensor.numel() * tensor.element_size() for tensor in known.state.values())
    shared = (known.architecture, dict(sorted(known.config.items())), known.dataset, known.classes)
    scale = (tuple(map(float, known.mean)), tuple(map(float, known.std)))
    with _folder_in_one(out, size * len(networks)) as folder:
        for number, (file, (name, tensors)) in enumerate(networks.items()):
            report("saving", number / len(networks), file)
            story = Story(clean_name(name), *shared, *scale)
            _write(folder / file, checkpoint_chunks(known.state, tensors, story, known.names))


def only_finite(tensors: Mapping[str, Tensor], constants: Mapping[str, Tensor], what: str) -> Mapping[str, Tensor]:
    """The same tensors, of any shapes, each of which raises MergescopeError where it holds NaN or infinity.

    constants: those that may, such as masks.  what: the network, for the message.
    """

    def checked(name: str) -> Tensor:
        tensor = tensors[name]
        if name not in constants and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise MergescopeError(f"{what} holds NaN or infinity in {name}. Choose another method or other settings.")
        return tensor

    return LazyTensors(tuple(tensors), checked)


@contextmanager
def _folder_in_one(out: Path, size: int) -> Iterator[Path]:
    """A folder to write `size` bytes into; its files become those of `out` at the end, or are deleted."""
    try:
        home = out if out.is_dir() else out.parent
        home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(home).free
        if free < size:
            raise InvalidRequest(
                f"The networks fill {size / 1e9:.1f} GB, and {home} has room for {free / 1e9:.1f} GB. "
                "Make room, or give another folder."
            )
        with TemporaryDirectory(prefix=f".{out.name}-", dir=home) as scratch:
            yield Path(scratch)
            out.mkdir(exist_ok=True)
            for path in sorted(Path(scratch).iterdir()):
                path.replace(out / path.name)
    except OSError as error:
        raise InvalidRequest(f"{out} cannot be written: {error.strerror}. Give another folder.") from error


def _write(path: Path, chunks: Iterable[memoryview]) -> None:
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
