"""Data that a job sends to a worker: bytes and numpy arrays, or paths of large files on the same machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from merging.zoo.datasets.load import ImageSet


@dataclass(frozen=True)
class Payload:
    """A job as a worker receives it.

    Attributes:
        request: as JSON text.
        checkpoints: safetensors bytes, in the order of the request's models.
        images: split -> images; {} where there are none.
        device: "cpu" or "cuda".
        threads: of torch; 0 leaves the number unchanged.
        artifacts: name -> bytes, of the merge that a study reads.
        files: paths instead of `checkpoints`, for a streamed merge.
        folder: receives the networks of a streamed merge.
    """

    request: str
    checkpoints: tuple[bytes, ...] = ()
    images: dict[str, ImageSet] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 0
    artifacts: dict[str, bytes] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    folder: Path | None = None
