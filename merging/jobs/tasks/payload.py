"""What travels to a worker: bytes and numpy arrays, or paths where it runs on this machine and the files are large."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from merging.zoo.datasets.load import ImageSet


@dataclass(frozen=True)
class Payload:
    """A job as a worker gets it.

    request: as JSON. checkpoints: safetensors bytes in the order of the request's models. images: split -> images, {}
    where this machine has none. device: "cpu" or "cuda". threads: of torch, 0 to leave them as they are. artifacts: of
    the merge that a study looks into.  files: in the place of checkpoints, for a merge that is streamed into `folder`.
    """

    request: str
    checkpoints: tuple[bytes, ...] = ()
    images: dict[str, ImageSet] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 0
    artifacts: dict[str, bytes] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    folder: Path | None = None
