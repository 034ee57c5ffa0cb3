"""Memory estimate for a merge of large networks, shown before the run.

A merge that does not fit into memory runs without images.
"""

from __future__ import annotations

import os
from dataclasses import replace

import streamlit as st

from merging.jobs.requests.merge import MergeRequest
from merging.jobs.streaming import memory_needed, obstacle
from merging.text import numbers
from ui.shell.state import entries, image_hash, ledger

FITS = "These networks are large. A merge with curves and similarity needs at least {} of memory; {} are free."
STREAMED = (
    "A merge with curves and similarity needs at least {} of memory, but only {} are free, so these networks will be "
    "merged tensor by tensor, without curves and similarity."
)
TOO_LARGE = "This merge needs at least {} of memory, but only {} are free, so it may fail. {}"
CLUSTER = "It cannot run tensor by tensor instead, because the workers of a cluster cannot read this machine's files."


def on_images(request: MergeRequest) -> MergeRequest:
    """Return the merge on the current images, or without images where curves do not fit into memory."""
    if not _fits(request) and not _obstacle(request):
        return replace(request, data_sha256="")
    return replace(request, data_sha256=image_hash(request.dataset, request.images) or request.data_sha256)


def say_memory(request: MergeRequest) -> None:
    """Show the memory that the merge needs; draw nothing for networks of a usual size."""
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
    """Whether the merge fits into memory with curves and similarity, as far as the workers have reported."""
    size, free = _size(request), _free()
    return size < ledger().limits.streamed_mb * 1e6 or free is None or memory_needed(size) <= free


def _size(request: MergeRequest) -> int:
    """Total bytes of the merge's network files, as far as they are stored here."""
    sizes = {entry.sha256: entry.bytes for entry in entries().values()}
    return sum(sizes.get(model.sha256, 0) for model in request.models)


def _free() -> int | None:
    """Free bytes of the worker with the most free memory, None while no worker has reported."""
    return max((worker.memory_total - worker.memory_used for worker in ledger().workers()), default=None)
