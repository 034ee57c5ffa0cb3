"""What a job does, whoever runs it: the dispatcher's workers, the command line, a notebook. Bytes in, bytes out.

Large networks are the exception: files in, files out (`run_from_files`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from merging.errors import InvalidRequest
from merging.jobs.ledger.store import Content
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.registry import from_json
from merging.jobs.tasks.payload import Payload
from merging.progress import Progress, no_progress


def run_task(kind: str, payload: Payload, report: Progress = no_progress) -> dict[str, bytes]:
    """Artifact name -> bytes of a job of this kind.

    Raises InvalidRequest where the payload's request is of another kind, and our other errors as the task meets them.
    """
    request = from_json(payload.request)
    if request.kind != kind or len(payload.checkpoints) != len(request.checkpoints):
        found = f"{request.kind} with {len(payload.checkpoints)} checkpoints"
        raise InvalidRequest(f"A {kind} job was given a request for {found}. Ask again.")
    if not request.task:
        raise InvalidRequest(f"A worker does not do {kind}; the dispatcher does.")
    module, _, function = request.task.partition(":")
    task = getattr(importlib.import_module(module), function)  # lucent is imported for pictures alone
    artifacts: dict[str, bytes] = task(request, payload, report)
    return artifacts


def run_from_files(payload: Payload, out: Path, report: Progress = no_progress) -> Mapping[str, Content]:
    """Artifact name -> bytes, or a file in the folder `out`, of a merge that is streamed from `payload.files`.

    Raises InvalidRequest where the payload's request is no merge, and our other errors as the task meets them.
    """
    from merging.jobs.tasks.streamed import streamed_task

    request = from_json(payload.request)
    if not isinstance(request, MergeRequest):
        raise InvalidRequest(f"Only merges are streamed; this is a request for {request.kind}.")
    return streamed_task(request, payload, out, report)
