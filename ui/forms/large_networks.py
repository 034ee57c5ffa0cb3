"""What a merge of large networks holds in memory, said before it is run; what does not fit is merged without images."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from merging.figures import numbers
from merging.methods import ROLES
from merging.work.request import MergeRequest
from merging.work.streamed import memory_needed, unfit_methods
from merging.zoo.catalogue import Entry
from ui.method_form import triple
from ui.state import entries, image_hash, ledger

FITS = "These networks are large. A merge with curves and similarity holds {} or more in memory; {} are free."
STREAMED = (
    "A merge with curves and similarity would hold {} or more in memory, and {} are free: these networks will be "
    "merged tensor by tensor, without curves and similarity."
)
TOO_LARGE = "This merge holds {} or more in memory, and {} are free: it may fail. {}"


def on_images(request: MergeRequest) -> MergeRequest:
    """The same merge on the images as they are now; on none where its networks do not fit into memory with curves."""
    sizes = {entry.sha256: entry.bytes for entry in entries().values()}
    methods = {role: getattr(request, role) for role in ROLES}
    if not _fits(sum(sizes.get(model.sha256, 0) for model in request.models)) and not unfit_methods(**methods):
        return replace(request, data_sha256="")
    return replace(request, data_sha256=image_hash(request.dataset, request.images) or request.data_sha256)


def say_memory(a: Entry, b: Entry) -> None:
    """What the merge needs; nothing for networks of a usual size."""
    both = a.bytes + b.bytes
    free = _free()
    if both < ledger().limits.streamed_mb * 1e6 or free is None:
        return
    sizes = numbers.size(memory_needed(both)), numbers.size(free)
    if _fits(both):
        st.info(FITS.format(*sizes), icon=":material/memory:")
    elif unfit := unfit_methods(**triple()):
        st.warning(TOO_LARGE.format(*sizes, unfit), icon=":material/memory:")
    else:
        st.info(STREAMED.format(*sizes), icon=":material/memory:")


def _fits(size: int) -> bool:
    """Whether a merge of networks of so many bytes fits with curves and similarity, as far as the workers told."""
    free = _free()
    return size < ledger().limits.streamed_mb * 1e6 or free is None or memory_needed(size) <= free


def _free() -> int | None:
    """Bytes that the worker with most room has, None while none has told."""
    return max((worker.memory_total - worker.memory_used for worker in ledger().workers()), default=None)
