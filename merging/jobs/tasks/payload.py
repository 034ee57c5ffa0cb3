"""Data that a worker receives for a job: bytes and numpy arrays, or paths of large files on the same machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from merging.zoo.datasets.load import ImageSet


@dataclass(frozen=True)
class Payload:
    """A job as a worker receives it.

    Attributes:
        request: the request as JSON text.
        checkpoints: safetensors bytes, in the order of the request's models.
        images: split -> images; {} if there are none.
        device: "cpu" or "cuda".
        threads: number of torch threads; 0 leaves it unchanged.
        artifacts: name -> bytes, artifacts of the merge, which a study reads.
        files: paths of the checkpoints, instead of `checkpoints`, for a streamed merge.
        folder: folder into which a streamed merge writes its networks.
        company: requests of all jobs that are done together, as JSON text; () for one job.
    """

    request: str
    checkpoints: tuple[bytes, ...] = ()
    images: dict[str, ImageSet] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 0
    artifacts: dict[str, bytes] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    folder: Path | None = None
    company: tuple[str, ...] = ()
