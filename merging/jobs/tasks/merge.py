"""Merge task: load, trace, align, combine and correct, then measure the path, the similarity and every unit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from merging.analysis.activations.read import groups_by_node
from merging.analysis.layer_survey import Survey, analyse, unmeasured_units
from merging.analysis.path.evaluation import ensemble, evaluate
from merging.analysis.path.merge_curves import merge_curves
from merging.analysis.path.recorder import PathRecorder
from merging.errors import MergescopeError
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.tasks.common import (
    Clock,
    arrays,
    batches,
    build_model,
    check_finite,
    checkpoint_bytes,
    device_of,
    example,
)
from merging.jobs.tasks.machine import machine
from merging.jobs.tasks.memory import peak_memory, watch_memory
from merging.jobs.tasks.payload import Payload
from merging.methods.problem import Problem
from merging.methods.registry import ROLES, find
from merging.naming import letter
from merging.network.data import Batches
from merging.network.graph.graph import Graph
from merging.network.permutation import PermutationSpec, named_tensors, with_tensors
from merging.network.programs.module import ProgramModule
from merging.pipeline.merge import Prepared, prepare
from merging.progress import Progress
from merging.results import saving
from merging.results.reports import LayerInfo, LossCurve, MergeReport, Metrics, PathPoints
from merging.zoo.checkpoints.programs import to_pt2
from merging.zoo.checkpoints.reading.safetensors_io import tensor_names

INSIDE = 2_000  # most images for similarity and unit statistics; more images take longer and hardly change the results
MISSING = "There are no curves and no similarity, because the images are not on the machine that runs the program."
NO_DATASET = (
    "There are no curves and no similarity, because the data set of these networks is unknown."
    " Choose the data set when you upload them."
)


@dataclass(frozen=True)
class Nets:
    """Networks of a merge, on their device.

    Attributes:
        a, b: the first two parents.
        aligned: pi(B).
        merge: the final network.
        naive: average of all parents without alignment; None if their widths differ.
    """

    a: nn.Module
    b: nn.Module
    aligned: nn.Module
    merge: nn.Module
    naive: nn.Module | None

    @property
    def made(self) -> dict[str, nn.Module]:
        """Name -> network: the merge and, if there is one, the naive average."""
        return {"merge": self.merge} if self.naive is None else {"naive": self.naive, "merge": self.merge}


def merge_task(request: MergeRequest, payload: Payload, report: Progress) -> dict[str, bytes]:
    """Artifacts of a merge: "report", the networks as safetensors (programs also as .pt2), "permutation.npz".

    On one CPU with the same number of threads, the same request gives the same bytes, except for the `seconds` of the
    report. On a GPU, results may differ by rounding, because some sums are computed in no fixed order.
    Raises the MergescopeErrors of its steps; data-driven methods raise DataUnavailable without images.
    """
    clock, device = Clock("merge", report), device_of(payload)
    watch_memory(device)
    clock("loading", 0.0, "reading the checkpoints")
    data = {split: batches(images, device) for split, images in payload.images.items()}
    prepared = _prepared(request, payload, data, clock)
    models = prepared.problem.models
    nets = _nets(prepared)
    curves, points = _curves(request, prepared, data, clock) if data and len(models) == 2 else ({}, None)
    scores = _scores(models, nets, data, curves, clock)
    ensembles = {split: ensemble(models, images) for split, images in data.items()}
    survey = _survey(prepared, nets, data, clock)
    clock("saving", 0.0, "")
    artifacts = _networks(request, nets, tensor_names(payload.checkpoints[0]))
    permutation = {name: p.cpu().numpy() for name, p in prepared.alignment.permutations[1].items()}
    artifacts["permutation.npz"] = arrays(permutation)
    clock.stop()
    artifacts["report"] = saving.save(
        MergeReport(
            request=json.loads(request.to_json()),
            layers=layer_infos(prepared.problem.graph, prepared.problem.spec),
            groups={name: (len(p), int((p != range(len(p))).sum())) for name, p in permutation.items()},
            equivalence=prepared.notes["equivalence"],
            curves=curves,
            ensemble=ensembles,
            scores=scores,
            similarity=survey.similarity,
            units=survey.units,
            permutation=permutation,
            notes=dict(prepared.notes),
            seconds=dict(clock.seconds),
            machine=machine(payload.device),
            memory=peak_memory(device),
            missing=_missing(request, data),
            points=points,
        )
    )
    return artifacts


def _prepared(request: MergeRequest, payload: Payload, data: Mapping[str, Batches], clock: Clock) -> Prepared:
    device = device_of(payload)
    pairs = zip(request.checkpoints, payload.checkpoints, strict=True)
    models = [build_model(model, checkpoint_data, device) for model, checkpoint_data in pairs]
    return prepare(
        models[: len(request.models)],
        **{role: getattr(request, role) for role in ROLES},
        base=None if request.base is None else models[-1],
        example=None if data else example(request.models[0], device),
        data=data.get("train"),
        settings=request.settings,
        seed=request.seed,
        report=clock,
    )


def _missing(request: MergeRequest, data: Mapping[str, Batches]) -> str:
    if data:
        return ""
    return MISSING if request.dataset else NO_DATASET


def _nets(prepared: Prepared) -> Nets:
    problem = prepared.problem
    merged = prepared.merge().merged
    check_finite(merged, "The merge")
    return Nets(problem.models[0], problem.models[1], problem.aligned[1], merged, _naive(problem))


def _naive(problem: Problem) -> nn.Module | None:
    if problem.structures:
        return None
    average, count = find("combine", "average"), len(problem.models)
    plain = average.run(replace(problem, aligned=problem.models), average.settings())((1 / count,) * count)
    return with_tensors(problem.models[0], plain)


def _curves(
    request: MergeRequest, prepared: Prepared, data: Mapping[str, Batches], clock: Clock
) -> tuple[dict[str, dict[str, LossCurve]], PathPoints | None]:
    """Curves by path ("naive", "aligned", "corrected") and split, and what is kept of each of their points.

    Raises MergescopeError if a loss is NaN.
    """

    def part(number: int, of: int, name: str) -> Progress:
        return clock.part("curve", number, of, name)

    problem = prepared.problem
    unequal, parents = bool(problem.structures), problem.models[:2]
    recorder = None if unequal else PathRecorder.of(problem.graph, parents, data["test"])
    how: dict[str, Any] = {"points": request.points, "correct": request.correct, "part": part, "visit": recorder}
    curves = merge_curves(prepared, data, **how)
    for name, splits in curves.items():
        for curve in splits.values():
            if not (curve.loss == curve.loss).all():
                raise MergescopeError(f"The loss on the {name} path is not a number (NaN). Choose other settings.")
    lambdas = curves["aligned"]["test"].lambdas
    return curves, None if recorder is None else recorder.points((parents[0], parents[1]), lambdas)


def _scores(
    models: Sequence[nn.Module],
    nets: Nets,
    data: Mapping[str, Batches],
    curves_found: Mapping[str, Mapping[str, LossCurve]],
    clock: Clock,
) -> dict[str, dict[str, Metrics]]:
    """Metrics of every model, the naive average and the merge, by split; read from the curves if there are any.

    Raises MergescopeError if a loss is NaN.
    """
    if curves_found:
        merge = curves_found.get("corrected", curves_found["aligned"])
        half = {"naive": curves_found["naive"]} if "naive" in curves_found else {}
        half["merge"] = merge
        ends = {name: {split: c.ends[k] for split, c in merge.items()} for k, name in enumerate("AB")}
        return ends | {name: {split: c.at_middle for split, c in splits.items()} for name, splits in half.items()}
    named = {letter(number): model for number, model in enumerate(models)} | nets.made
    metrics: dict[str, dict[str, Metrics]] = {}
    for number, (name, net) in enumerate(named.items() if data else ()):
        clock("curve", number / len(named), name)
        metrics[name] = {split: evaluate(net, images) for split, images in data.items()}
        if any(math.isnan(each.loss) for each in metrics[name].values()):
            what = {"naive": "the naive average", "merge": "the merge"}.get(name, f"network {name}")
            raise MergescopeError(f"The loss of {what} is not a number (NaN). Choose other networks or settings.")
    return metrics


def _survey(prepared: Prepared, nets: Nets, data: Mapping[str, Batches], clock: Clock) -> Survey:
    problem, permutation = prepared.problem, prepared.alignment.permutations[1]
    if not data:
        return Survey({}, unmeasured_units(problem.graph, permutation, problem.spec))
    clock("similarity", 0.0, "comparing layers and units")
    networks = {"A": nets.a, "pi(B)": nets.aligned, "merge": nets.merge, **nets.made}
    first = replace(data["test"], order=torch.arange(min(INSIDE, data["test"].count)))
    tensors = {name: named_tensors(net) for name, net in networks.items()}
    b = (problem.structure(1)[0], named_tensors(nets.b)) if prepared.alignment.maps else None
    return analyse(problem.graph, tensors, permutation, problem.spec, first, b=b, report=clock.part("similarity", 0, 1))


def layer_infos(graph: Graph, spec: PermutationSpec) -> tuple[LayerInfo, ...]:
    """Layers that have units, in the order of the network, each with the permutation group of its units."""
    groups = groups_by_node(graph, spec)
    return tuple(
        LayerInfo(layer.name, layer.kind, layer.units, layer.positions, groups.get(layer.node, ""))
        for layer in graph.layers
    )


def _networks(request: MergeRequest, nets: Nets, names: Mapping[str, str]) -> dict[str, bytes]:
    made = {"merge.safetensors": nets.merge, "aligned.safetensors": nets.aligned}
    made |= {"naive.safetensors": nets.naive} if nets.naive is not None else {}
    first = request.models[0]
    files = {file: checkpoint_bytes(net, first, request.name_of(file), names) for file, net in made.items()}
    programs = {"merge.pt2": nets.merge, "aligned.pt2": nets.aligned}
    files |= {name: to_pt2(net) for name, net in programs.items() if isinstance(net, ProgramModule)}
    return files
