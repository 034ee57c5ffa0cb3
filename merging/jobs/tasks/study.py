"""Study task: builds the subject from the networks of a finished merge, and saves the study's finding."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import nn

from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.study import StudyRequest
from merging.jobs.tasks.common import Clock, batches, build_model, device_of, example
from merging.jobs.tasks.payload import Payload
from merging.methods.problem import Problem
from merging.methods.registry import find
from merging.network.graph.graph import Graph, export
from merging.network.permutation import Permutation, PermutationSpec, permute, with_tensors
from merging.pipeline.models import spec_of
from merging.progress import Progress
from merging.results import saving
from merging.settings import read_settings
from merging.studies.registry import Subject, find_study


def study_task(request: StudyRequest, payload: Payload, report: Progress) -> dict[str, bytes]:
    """Artifact "finding", the study's saved result. Raises the MergescopeErrors of the study."""
    clock = Clock("study", report)
    clock("loading", 0.0, "reading the checkpoints")
    study = find_study(request.study)
    subject = subject_of(request.merge, payload, clock, request.seed, request.other)
    clock("studying", 0.0, study.label)
    finding = study.run(subject, read_settings(study.settings, request.settings))
    clock("saving", 0.0, "")
    clock.stop()
    return {"finding": saving.save(finding)}


def subject_of(
    merge: MergeRequest, payload: Payload, report: Progress, seed: int, other: ModelRef | None = None
) -> Subject:
    """Subject of a study: the parents of a merge and the networks that the merge produced.

    Args:
        merge: the merge's request.
        payload: the parents' checkpoints, and the merge's artifacts.
        report: receives the progress.
        seed: seed of the study.
        other: a further network "C", whose checkpoint is the payload's last one.
    """
    device = device_of(payload)
    a, b = (build_model(ref, data, device) for ref, data in zip(merge.models[:2], payload.checkpoints[:2], strict=True))
    others = [
        build_model(ref, data, device) for ref, data in zip(merge.models[2:], payload.checkpoints[2:], strict=False)
    ]
    data = {split: batches(images, device) for split, images in payload.images.items()}
    graph = export(a, data["test"].example() if data else example(merge.models[0], device))
    spec = spec_of(graph, a)
    partner = _permutation(payload.artifacts["permutation.npz"], device)
    merge_net = build_model(merge.models[0], payload.artifacts["merge.safetensors"], device)
    aligned = _aligned(merge, payload, b, spec, partner)
    nets = {
        "A": a,
        "B": b,
        "pi(B)": aligned,
        "naive": _average((a, b, *others), graph, spec),
        "average": _average((a, aligned), graph, spec),
        "merge": merge_net,
    }
    if other is not None:
        nets["C"] = build_model(other, payload.checkpoints[-1], device)
    return Subject(nets, graph, spec, partner, find("align", merge.align).permutes, data, seed, report)


def _permutation(data: bytes, device: torch.device) -> Permutation:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]).to(device) for name in arrays.files}


def _aligned(
    merge: MergeRequest, payload: Payload, b: nn.Module, spec: PermutationSpec, partner: Permutation
) -> nn.Module:
    """Stored pi(B) or, without it, B permuted. If the alignment mixed units, a permutation only approximates pi(B)."""
    stored = payload.artifacts.get("aligned.safetensors")
    if stored is not None:
        return build_model(merge.models[0], stored, next(b.parameters()).device)
    return permute(b, spec, partner)


def _average(models: tuple[nn.Module, ...], graph: Graph, spec: PermutationSpec) -> nn.Module:
    average = find("combine", "average")
    problem = Problem(models, graph, spec, aligned=models)
    plain = average.run(problem, average.settings())((1 / len(models),) * len(models))
    return with_tensors(models[0], plain)
