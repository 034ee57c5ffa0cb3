"""What a merge of large networks holds in memory, said before it is run; what does not fit is merged without images."""

from __future__ import annotations

import os
from dataclasses import replace

import streamlit as st

from merging.jobs.requests.merge import MergeRequest
from merging.jobs.streaming import memory_needed, obstacle
from merging.text import numbers
from ui.shell.state import entries, image_hash, ledger

FITS = "These networks are large. A merge with curves and similarity holds {} or more in memory; {} are free."
STREAMED = (
    "A merge with curves and similarity would hold {} or more in memory, and {} are free: these networks will be "
    "merged tensor by tensor, without curves and similarity."
)
TOO_LARGE = "This merge holds {} or more in memory, and {} are free: it may fail. {}"
CLUSTER = "Workers of a cluster cannot read this machine's files."


def on_images(request: MergeRequest) -> MergeRequest:
    """The same merge on the images as they are now; on none where its networks do not fit into memory with curves."""
    if not _fits(request) and not _obstacle(request):
        return replace(request, data_sha256="")
    return replace(request, data_sha256=image_hash(request.dataset, request.images) or request.data_sha256)


def say_memory(request: MergeRequest) -> None:
    """What the merge needs; nothing for networks of a usual size."""
    size, free = _size(request), _free()
    if size < ledger().limits.streamed_mb * 1e6 or free is None:
        return
    sizes = numbers.size(memory_needed(size)), numbers.size(free)
    if _fits(request):
        st.info(FITS.format(*sizes), icon=":material/memory:")
    elif unfit := _obstacle(request):
        st.warning(TOO_LARGE.format(*sizes, unfit), icon=":material/memory:")
    else:
        st.info(STREAMED.format(*sizes), icon=":material/memory:")


def _obstacle(request: MergeRequest) -> str:
    return CLUSTER if os.environ.get("RAY_ADDRESS") else obstacle(request)


def _fits(request: MergeRequest) -> bool:
    """Whether the merge fits with curves and similarity, as far as the workers told."""
    size, free = _size(request), _free()
    return size < ledger().limits.streamed_mb * 1e6 or free is None or memory_needed(size) <= free


def _size(request: MergeRequest) -> int:
    """Bytes of its networks' files together, of those that are here."""
    known = {entry.sha256: entry.bytes for entry in entries().values()}
    return sum(known.get(model.sha256, 0) for model in request.models)


def _free() -> int | None:
    """Bytes that the worker with most room has, None while none has told."""
    return max((worker.memory_total - worker.memory_used for worker in ledger().workers()), default=None)
