"""Streamed merge task for large networks: reads and writes the files tensor by tensor, and uses no images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from merging.analysis.layer_survey import unmeasured_units
from merging.errors import UnsupportedOperation
from merging.jobs.ledger.store import Content
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.streaming import memory_needed
from merging.jobs.tasks.common import Clock, arrays, device_of
from merging.jobs.tasks.machine import machine
from merging.jobs.tasks.memory import peak_memory, watch_memory
from merging.jobs.tasks.merge import layer_infos, merge_task
from merging.jobs.tasks.payload import Payload
from merging.pipeline.from_files import merge_sliced
from merging.pipeline.output_files import NETWORKS
from merging.progress import Progress
from merging.results import saving
from merging.results.reports import MergeReport
from merging.zoo.checkpoints.sliced_checkpoint import SlicedCheckpoint, open_sliced


def streamed_task(request: MergeRequest, payload: Payload, out: Path, report: Progress) -> dict[str, Content]:
    """Artifacts of `merge_task`, with the networks as files in the folder `out`.

    Networks whose files cannot be read in slices, such as those with tied weights, are merged in memory.
    Raises the errors of `pipeline.from_files.merge_sliced`.
    """
    out.mkdir(parents=True, exist_ok=True)  # created now, so that files of an interrupted merge are in this folder, too
    device = device_of(payload)
    watch_memory(device)
    pairs = zip(request.models, payload.files, strict=True)
    try:
        sliced = [_opened(model, file) for model, file in pairs]
        merge_report, permutation = streamed_merge(request, sliced, out, device, report)
    except UnsupportedOperation:
        whole = replace(payload, checkpoints=tuple(file.read_bytes() for file in payload.files), files=())
        return dict(merge_task(request, whole, report))
    networks = {name: out / name for name in NETWORKS}
    return {"report": saving.save(merge_report), "permutation.npz": permutation, **networks}


def streamed_merge(
    request: MergeRequest, opened: Sequence[SlicedCheckpoint], out: Path, device: torch.device | str, report: Progress
) -> tuple[MergeReport, bytes]:
    """Merge two open checkpoints, write the networks into the folder `out`, and return report and "permutation.npz".

    Raises the errors of `pipeline.from_files.merge_sliced`.
    """
    clock = Clock("merge", report)
    how: dict[str, Any] = {"settings": request.settings["align"], "seed": request.seed, "device": device}
    merge = merge_sliced(opened[0], opened[1], out, **how, report=clock)
    clock.stop()
    permutation = {name: p.cpu().numpy() for name, p in merge.permutation.items()}
    merge_report = MergeReport(
        request=json.loads(request.to_json()),
        layers=layer_infos(merge.graph, merge.spec),
        groups={name: (len(p), int((p != range(len(p))).sum())) for name, p in permutation.items()},
        equivalence=merge.notes["equivalence"],
        units=unmeasured_units(merge.graph, merge.permutation, merge.spec),
        permutation=permutation,
        notes=dict(merge.notes),
        seconds=dict(clock.seconds),
        machine=machine(torch.device(device).type),
        memory=peak_memory(torch.device(device)),
        missing=missing_words(opened[0]),
    )
    return merge_report, arrays(permutation)


def missing_words(opened: SlicedCheckpoint) -> str:
    """Text that says which results a streamed merge lacks, and how much memory these results would need."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in opened.checkpoint.state.values())
    return (
        "There are no curves and no similarity, because the networks are merged tensor by tensor. Curves, similarity "
        f"and corrections need whole networks in memory, {memory_needed(2 * size) / 1e9:.1f} GB or more."
    )


def _opened(model: ModelRef, file: Path) -> SlicedCheckpoint:
    """Open the checkpoint with the metadata of the request."""
    keys = ("architecture", "config", "mean", "std")
    metadata: dict[str, Any] = {key: getattr(model, key) for key in keys}
    sliced = open_sliced(file, name=model.name, dataset=model.dataset, **metadata)
    return replace(sliced, checkpoint=replace(sliced.checkpoint, name=model.name, classes=model.classes))
