"""Writing the networks of a merge to files, tensor by tensor: either all files are written or none."""

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
    """Write networks into the folder `out`: all of them, or none if one cannot be computed or written.

    Args:
        out: the folder.
        like: the network whose structure and description the files get.
        networks: file name -> (name of the network, its tensors by name); each tensor is read once.
        report: progress callback.
    Raises:
        InvalidRequest: when the files cannot be written.
        MergescopeError: when a tensor cannot be computed.
    """
    model = like.checkpoint
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state.values())
    shared = (model.architecture, dict(sorted(model.config.items())), model.dataset, model.classes)
    scale = (tuple(map(float, model.mean)), tuple(map(float, model.std)))
    with _folder_in_one(out, size * len(networks)) as folder:
        for number, (file, (name, tensors)) in enumerate(networks.items()):
            report("saving", number / len(networks), file)
            story = Story(clean_name(name), *shared, *scale)
            _write(folder / file, checkpoint_chunks(model.state, tensors, story, model.names))


def only_finite(tensors: Mapping[str, Tensor], constants: Mapping[str, Tensor], what: str) -> Mapping[str, Tensor]:
    """Return the same tensors, each checked when it is read: MergescopeError is raised for NaN or infinity.

    tensors: of any shapes. constants: those that may hold infinity, such as masks. what: the network's name for the
    message.
    """

    def checked(name: str) -> Tensor:
        tensor = tensors[name]
        if name not in constants and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise MergescopeError(f"{what} holds NaN or infinity in {name}. Choose another method or other settings.")
        return tensor

    return LazyTensors(tuple(tensors), checked)


@contextmanager
def _folder_in_one(out: Path, size: int) -> Iterator[Path]:
    """Yield a scratch folder with room for `size` bytes; on success its files move to `out`, else they are deleted."""
    try:
        home = out if out.is_dir() else out.parent
        home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(home).free
        if free < size:
            raise InvalidRequest(
                f"The networks need {size / 1e9:.1f} GB, but {home} has only {free / 1e9:.1f} GB free. "
                "Free some space, or give another folder."
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
