"""Runs a task with bytes as input and output, in the same way for workers, the command line and notebooks.

Merges of large networks are an exception: they read and write files (`run_from_files`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from merging.errors import InvalidRequest
from merging.jobs.ledger.store import Content
from merging.jobs.outcome import Outcome
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.train import TrainRequest
from merging.jobs.tasks.payload import Payload
from merging.progress import Progress, no_progress


def run_task(kind: str, payload: Payload, report: Progress = no_progress) -> dict[str, bytes]:
    """Compute a job of this kind; return artifact name -> bytes.

    Raises InvalidRequest if the payload's request is of another kind, and the MergescopeErrors of the task.
    """
    request = from_json(payload.request)
    if request.kind != kind or len(payload.checkpoints) != len(request.checkpoints):
        received = f"{request.kind} with {len(payload.checkpoints)} checkpoints"
        raise InvalidRequest(f"A {kind} job received a request for {received}. Submit it again.")
    if not request.task:
        raise InvalidRequest(f"A worker cannot run a {kind} job; the dispatcher runs it.")
    module, _, function = request.task.partition(":")
    task = getattr(importlib.import_module(module), function)  # imported late, because only pictures need lucent
    artifacts: dict[str, bytes] = task(request, payload, report)
    return artifacts


def run_company(payload: Payload, report: Progress = no_progress) -> Outcome:
    """Do the trainings of `payload.company` in one pass; return an outcome that has one of its own for each of them.

    Raises InvalidRequest if they cannot be done together, and DataUnavailable without images.
    """
    from merging.jobs.tasks.train import train_company

    requests = [from_json(text) for text in payload.company]
    trainings = [request for request in requests if isinstance(request, TrainRequest) and request.company]
    if len(trainings) < len(requests) or len({request.company for request in trainings}) != 1:
        raise InvalidRequest("Only small MLPs that differ in their seed are trained together. Submit these one by one.")
    return train_company(trainings, payload, report)


def run_from_files(payload: Payload, out: Path, report: Progress = no_progress) -> Mapping[str, Content]:
    """Stream a merge from `payload.files`; return artifact name -> bytes, or path of a file in the folder `out`.

    Raises InvalidRequest if the payload's request is not a merge, and the MergescopeErrors of the task.
    """
    from merging.jobs.tasks.streamed import streamed_task

    request = from_json(payload.request)
    if not isinstance(request, MergeRequest):
        raise InvalidRequest(f"Only merges can be streamed; this is a request for {request.kind}.")
    return streamed_task(request, payload, out, report)
