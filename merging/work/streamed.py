"""Which merges are read and written tensor by tensor, and what the others hold in memory. No torch."""

from __future__ import annotations

from merging.methods import ROLES, find
from merging.work.request import MergeRequest
from merging.zoo.architectures.names import PROGRAM

METHODS = {"align": "weight-matching", "combine": "average", "correct": "none"}
IN_MEMORY = 16  # times one network's size: peak of a merge in memory (python -m benchmarks.memory --small --ordinary)


def memory_needed(both: int) -> int:
    """Bytes, or more, that a merge with curves and similarity holds. both: bytes of its two networks' files."""
    return IN_MEMORY * both // 2


def unfit_methods(**methods: str) -> str:
    """Why a merge by these methods, role=key, cannot be streamed, in a sentence; "" where it can be."""
    if methods == METHODS:
        return ""
    align, combine = find("align", METHODS["align"]), find("combine", METHODS["combine"])
    return f"Only {align.label} and {combine.label} without a correction can be streamed."


def may_stream(request: MergeRequest) -> bool:
    """Whether the merge can be streamed, and measures nothing on images."""
    a, *others = request.checkpoints
    methods: dict[str, str] = {role: getattr(request, role) for role in ROLES}
    return len(others) == 1 and not (unfit_methods(**methods) or request.data_sha256 or a.architecture == PROGRAM)
