"""Which merges are read and written tensor by tensor, and what the others hold in memory. No torch."""

from __future__ import annotations

from merging.jobs.requests.merge import MergeRequest
from merging.methods.registry import ROLES, find
from merging.zoo.architectures.names import PROGRAM

METHODS = {"align": "weight-matching", "combine": "average", "correct": "none"}
IN_MEMORY = 16  # times one network's size: peak of a merge in memory (python -m benchmarks.memory --small --ordinary)


def memory_needed(size: int) -> int:
    """Bytes, or more, that a merge with curves and similarity holds. size: bytes of its networks' files together."""
    return IN_MEMORY * size // 2


def unfit_methods(**methods: str) -> str:
    """Why a merge by these methods, role=key, cannot be streamed, in a sentence; "" where it can be."""
    if methods == METHODS:
        return ""
    align, combine = find("align", METHODS["align"]), find("combine", METHODS["combine"])
    return f"Only {align.label} and {combine.label} without a correction can be streamed."


def obstacle(request: MergeRequest) -> str:
    """Why the merge cannot be streamed, whatever it measures, in a sentence; "" where it can be."""
    if len(request.checkpoints) > 2:
        return "Only a merge of two networks can be streamed."
    if request.models[0].architecture == PROGRAM:
        return "Exported programs cannot be streamed."
    return unfit_methods(**{role: getattr(request, role) for role in ROLES})
