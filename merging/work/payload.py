"""What travels to a worker: bytes and numpy arrays only, for it shares no disk with the app."""

from __future__ import annotations

from dataclasses import dataclass, field

from merging.work.images import check_fingerprint, load_images
from merging.work.ledger import Ledger
from merging.work.request import MergeRequest, Request, TrainRequest
from merging.zoo.datasets import ImageSet


@dataclass(frozen=True)
class Payload:
    """A job as a worker gets it.

    request: as JSON. checkpoints: safetensors bytes in the order of the request's models. images: split -> images, {}
    where this machine has none. device: "cpu" or "cuda". threads: of torch, 0 to leave them as they are.
    """

    request: str
    checkpoints: tuple[bytes, ...] = ()
    images: dict[str, ImageSet] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 0


def gather(ledger: Ledger, request: Request, device: str, threads: int) -> Payload:
    """Read all that the request needs from this machine.

    Raises InvalidRequest for unknown weights, DataUnavailable for images that are others than the request's, or for
    a training without any.
    """
    images: dict[str, ImageSet] = {}
    if isinstance(request, MergeRequest | TrainRequest) and request.data_sha256:
        images = load_images(request.dataset, request.images if isinstance(request, MergeRequest) else None)
        check_fingerprint(images, request.data_sha256)
    checkpoints = tuple(ledger.checkpoint(model.sha256) for model in request.checkpoints)
    return Payload(request.to_json(), checkpoints, images, device, threads)
