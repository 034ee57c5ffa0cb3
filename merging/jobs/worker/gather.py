"""Gathering what a job needs from this machine: the payload that is sent to a worker."""

from __future__ import annotations

from pathlib import Path

from merging.errors import InvalidRequest
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.base import Request
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.streaming import obstacle
from merging.jobs.tasks.payload import Payload
from merging.zoo.datasets.fingerprint import check_fingerprint, load_splits
from merging.zoo.datasets.load import ImageSet

NEEDED = ("merge.safetensors", "permutation.npz")


def gather(ledger: Ledger, request: Request, device: str, threads: int, *, folder: Path | None = None) -> Payload:
    """Read all that the request needs from this machine.

    folder: where a worker on this machine may write a merge that is streamed; without one, none is.

    Raises InvalidRequest for unknown weights or a merge whose networks are not stored, DataUnavailable for images that
    are others than the request's, or for a training without any.
    """
    images: dict[str, ImageSet] = {}
    dataset, data_sha256, count = request.data
    if data_sha256:
        images = load_splits(dataset, count)
        check_fingerprint(images, data_sha256)
    files = _large_files(ledger, request) if folder is not None else ()
    if files:
        return Payload(request.to_json(), device=device, threads=threads, files=files, folder=folder)
    checkpoints = tuple(ledger.checkpoint(model.sha256) for model in request.checkpoints)
    artifacts = _made(ledger, request.merge_id) if request.merge_id else {}
    return Payload(request.to_json(), checkpoints, images, device, threads, artifacts)


def _large_files(ledger: Ledger, request: Request) -> tuple[Path, ...]:
    """The files of a merge that is streamed, () for all else."""
    if not isinstance(request, MergeRequest) or request.data_sha256 or obstacle(request):
        return ()
    found = [ledger.checkpoint_file(model.sha256) for model in request.models]
    files = tuple(file for file in found if file is not None)
    large = sum(file.stat().st_size for file in files) >= ledger.limits.streamed_mb * 1e6
    return files if large and len(files) == len(found) else ()


def _made(ledger: Ledger, merge: str) -> dict[str, bytes]:
    """What a study reads of a merge; pi(B) is kept only where it was made on this machine."""
    found = {name: ledger.artifact(merge, name) for name in (*NEEDED, "aligned.safetensors")}
    if not all(found[name] for name in NEEDED):
        raise InvalidRequest("The networks of this merge are not stored on this machine. Run the merge here first.")
    return {name: data for name, data in found.items() if data is not None}
