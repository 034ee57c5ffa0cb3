"""Payload of a job, gathered from the files of this machine."""

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


def gather_payload(
    ledger: Ledger, request: Request, device: str, threads: int, *, folder: Path | None = None
) -> Payload:
    """Read everything that the request needs from this machine.

    Args:
        ledger: the ledger.
        request: the job's request.
        device: "cpu" or "cuda".
        threads: number of torch threads.
        folder: output folder of a streamed merge, for workers on this machine; None: merges are not streamed.

    Raises:
        InvalidRequest: the weights are unknown, or the networks of the merge are not stored.
        DataUnavailable: the images differ from the request's, or a training has none.
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
    """Checkpoint files if the request is a merge that will be streamed, otherwise ()."""
    if not isinstance(request, MergeRequest) or request.data_sha256 or obstacle(request):
        return ()
    paths = [ledger.checkpoint_file(model.sha256) for model in request.models]
    files = tuple(file for file in paths if file is not None)
    large = sum(file.stat().st_size for file in files) >= ledger.limits.streamed_mb * 1e6
    return files if large and len(files) == len(paths) else ()


def _made(ledger: Ledger, merge: str) -> dict[str, bytes]:
    """Artifacts of a merge that a study reads. pi(B) is among them only if the merge ran on this machine."""
    contents = {name: ledger.artifact(merge, name) for name in (*NEEDED, "aligned.safetensors")}
    if not all(contents[name] for name in NEEDED):
        raise InvalidRequest("The networks of this merge are not stored on this machine. Run the merge here first.")
    return {name: data for name, data in contents.items() if data is not None}
