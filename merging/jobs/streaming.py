"""Conditions under which a merge can be streamed tensor by tensor; memory that other merges need. torch-free."""

from __future__ import annotations

from merging.jobs.requests.merge import MergeRequest
from merging.methods.registry import ROLES, find
from merging.zoo.architectures.names import PROGRAM

METHODS = {"align": "weight-matching", "combine": "average", "correct": "none"}
IN_MEMORY = 16  # peak memory of a merge / size of one network (python -m benchmarks.memory --small --ordinary)


def memory_needed(size: int) -> int:
    """Lower bound on the peak memory, in bytes, of a merge in memory. size: bytes of both networks' files together."""
    return IN_MEMORY * size // 2


def unfit_methods(**methods: str) -> str:
    """Reason, as a sentence, why a merge with these methods (role=key) cannot be streamed; "" if it can."""
    if methods == METHODS:
        return ""
    align, combine = find("align", METHODS["align"]), find("combine", METHODS["combine"])
    return f"Only merges by {align.label} and {combine.label}, without a correction, can be streamed."


def obstacle(request: MergeRequest) -> str:
    """Reason, as a sentence, why the merge cannot be streamed; "" if it can. Does not check that it has no images."""
    if len(request.checkpoints) > 2:
        return "Only a merge of two networks can be streamed."
    if request.models[0].architecture == PROGRAM:
        return "Exported programs cannot be streamed."
    return unfit_methods(**{role: getattr(request, role) for role in ROLES})
