"""Conditions for streaming a merge tensor by tensor, and the memory that other merges need. torch-free."""

from __future__ import annotations

from merging.jobs.requests.merge import MergeRequest
from merging.methods.registry import ROLES, find
from merging.zoo.architectures.names import PROGRAM

METHODS = {"align": "weight-matching", "combine": "average", "correct": "none"}
IN_MEMORY = 16  # peak memory of a merge, in sizes of one network (python -m benchmarks.memory --small --ordinary)


def memory_needed(size: int) -> int:
    """Lowest number of bytes that a merge with curves and similarity holds. size: bytes of both networks' files."""
    return IN_MEMORY * size // 2


def unfit_methods(**methods: str) -> str:
    """Reason why a merge by these methods (role=key) cannot be streamed, as a sentence; "" where it can."""
    if methods == METHODS:
        return ""
    align, combine = find("align", METHODS["align"]), find("combine", METHODS["combine"])
    return f"Only {align.label} and {combine.label} without a correction can be streamed."


def obstacle(request: MergeRequest) -> str:
    """Reason why the merge cannot be streamed, apart from its images, as a sentence; "" where it can."""
    if len(request.checkpoints) > 2:
        return "Only a merge of two networks can be streamed."
    if request.models[0].architecture == PROGRAM:
        return "Exported programs cannot be streamed."
    return unfit_methods(**{role: getattr(request, role) for role in ROLES})
