"""The whole merge: trace, verify, align, combine, correct. Nothing is shown before pi(B) is known to equal B."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from merging import graph as graphs
from merging import tracing
from merging.data import Batches, as_batches
from merging.errors import DataUnavailable, IncompatibleModels, InvalidRequest, InvalidSetting, NotEquivalent
from merging.methods import ROLES, Method, Role, find
from merging.permutation import Permutation, PermutationSpec, named_tensors, permute, with_tensors
from merging.problem import Alignment, Corrector, MergeResult, Problem, Report, silent
from merging.settings import read_settings

LARGEST_ERROR = 1e-6  # relative, in float64: an exact permutation stays below 1e-9 in deep networks, a wrong one is ~1
EQUIVALENCE_IMAGES = 64
KEPT_SPECS = 32

_specs: dict[str, PermutationSpec] = {}


@dataclass(frozen=True)
class Prepared:
    """A merge up to the point where only the weights of the models are open, so that a whole curve shares the work.

    problem: with the aligned models.  notes: what was found by stage.  method, settings: of the combination.
    """

    problem: Problem
    alignment: Alignment
    method: Method
    settings: Any
    corrector: Corrector
    notes: Mapping[str, Any]

    def combine(self, weights: Sequence[float]) -> nn.Module:
        """The combined net, not corrected. weights: one a model, summing to 1; (1, 0) gives A bit for bit."""
        tensors = self.method.run(self.problem, _checked_weights(weights, len(self.problem.models)), self.settings)
        return with_tensors(self.problem.models[0], tensors)

    def correct(self, net: nn.Module, weights: Sequence[float]) -> nn.Module:
        """The corrected net, for a net that `combine` gave for the same weights."""
        return self.corrector(net, _checked_weights(weights, len(self.problem.models)))

    def merge(self, weights: Sequence[float] | None = None) -> MergeResult:
        """Combined and corrected; equal weights unless given."""
        count = len(self.problem.models)
        shares = tuple(weights) if weights is not None else (1 / count,) * count
        self.problem.report("combining", 0.0, self.method.label)
        merged = self.correct(self.combine(shares), shares)
        return MergeResult(merged, self.problem.aligned, self.alignment, self.notes)


def merge(
    models: Sequence[nn.Module],
    *,
    align: str = "weight-matching",
    combine: str = "average",
    correct: str = "none",
    base: nn.Module | None = None,
    example: Tensor | None = None,
    data: Any = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    report: Report | None = None,
    weights: Sequence[float] | None = None,
) -> MergeResult:
    """Merge two networks of one structure; the inputs are left as they are.

    align, combine, correct: keys of the method tables.  settings: role -> that method's settings.  example: inputs
    (n, ...) to trace with, by default the first of data.  data: training images, see `data.as_batches`.  weights: one
    a model, summing to 1, equal by default.  report: called with (stage, fraction, message).
    The result's notes: `trace`, `align`, `correct`, and `equivalence`, max |B - pi(B)| over the outputs relative to
    the largest, in float64.
    Raises IncompatibleModels, UnsupportedOperation, NotEquivalent, DataUnavailable, InvalidSetting, InvalidRequest.
    """
    prepared = prepare(
        models,
        align=align,
        combine=combine,
        correct=correct,
        base=base,
        example=example,
        data=data,
        settings=settings,
        seed=seed,
        report=report,
    )
    return prepared.merge(weights)


def prepare(
    models: Sequence[nn.Module],
    *,
    align: str = "weight-matching",
    combine: str = "average",
    correct: str = "none",
    base: nn.Module | None = None,
    example: Tensor | None = None,
    data: Any = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    report: Report | None = None,
) -> Prepared:
    """Trace, verify and align once, and measure what the correction needs; arguments and errors as of `merge`."""
    if base is not None:
        raise InvalidRequest("None of these methods starts from a common base network; leave `base` out.")
    chosen = _methods({"align": align, "combine": combine, "correct": correct}, data)
    wishes = _settings(chosen, settings or {})
    problem, error = _problem(models, example, None if data is None else as_batches(data), seed, report or silent)
    alignment = chosen["align"].run(problem, wishes["align"])
    problem = replace(problem, aligned=_aligned(problem, alignment.permutations))
    equivalence = _check_equivalence(problem, example)
    corrector = chosen["correct"].run(problem, wishes["correct"])
    units = sum(group.size for group in problem.spec.groups)
    notes = {
        "trace": {"groups": len(problem.spec.groups), "units": units, "error": error},
        "align": alignment.notes,
        "correct": corrector.notes,
        "equivalence": equivalence,
    }
    return Prepared(problem, alignment, chosen["combine"], wishes["combine"], corrector, notes)


def output_difference(a: nn.Module, b: nn.Module, images: Tensor) -> float:
    """max |a(x) - b(x)| over images and outputs, relative to the largest |a(x)|, computed in float64.

    images: (n, ...) on the models' device. In float32, rounding in a deep network looks like a difference.
    """
    outputs = []
    for model in (a, b):  # one after another, so that only one copy in float64 exists at a time
        with torch.no_grad():
            outputs.append(copy.deepcopy(model).eval().double()(images.double()))
    return float((outputs[0] - outputs[1]).abs().max() / outputs[0].abs().max().clamp_min(torch.finfo().tiny))


def _methods(keys: Mapping[Role, str], data: Any) -> dict[Role, Method]:
    chosen = {role: find(role, key) for role, key in keys.items()}
    for method in chosen.values():
        if method.needs_data and data is None:
            raise DataUnavailable(f"{method.label} needs training images. Give data, or choose another method.")
    return chosen


def _settings(chosen: Mapping[Role, Method], given: Mapping[str, Mapping[str, Any]]) -> dict[Role, Any]:
    for role in given:
        if role not in ROLES:
            raise InvalidSetting(f"Settings are given for {role!r}; they can be given for {', '.join(ROLES)}.")
    return {role: read_settings(method.settings, given.get(role)) for role, method in chosen.items()}


def _problem(
    models: Sequence[nn.Module], example: Tensor | None, data: Batches | None, seed: int, report: Report
) -> tuple[Problem, float]:
    """The problem before alignment, and the tracer's own error: max output change under a random permutation."""
    _check_models(models)
    ready = tuple(_in_eval_mode(model) for model in models)
    inputs = _inputs(ready[0], example, data)
    report("tracing", 0.0, "reading the networks' structure")
    first, *others = (graphs.export(model, inputs) for model in ready)
    for other in others:
        found = graphs.difference(first, other)
        if found:
            raise IncompatibleModels(f"These networks have different structures. {found} Choose two of one kind.")
    spec = _spec(first)
    report("verifying", 0.0, "permuting units at random and comparing outputs")
    error = tracing.verify(ready[0], spec, inputs, seed)
    _refuse_above(error, "A random permutation of the first network")
    return Problem(ready, first, spec, data, seed, report), error


def _spec(graph: graphs.Graph) -> PermutationSpec:
    """The traced spec; tracing is a function of the structure, so the last ones are kept."""
    if graph.signature not in _specs:
        while len(_specs) >= KEPT_SPECS:
            del _specs[next(iter(_specs))]
        _specs[graph.signature] = tracing.trace_graph(graph)
    return _specs[graph.signature]


def _aligned(problem: Problem, permutations: tuple[Permutation, ...]) -> tuple[nn.Module, ...]:
    first, *others = problem.models
    return (first, *(permute(m, problem.spec, p) for m, p in zip(others, permutations[1:], strict=True)))


def _check_equivalence(problem: Problem, example: Tensor | None) -> float:
    images = _inputs(problem.models[0], None if problem.data else example, problem.data, EQUIVALENCE_IMAGES)
    problem.report("verifying", 0.5, "comparing B with pi(B)")
    pairs = zip(problem.models[1:], problem.aligned[1:], strict=True)
    error = max(output_difference(model, aligned, images) for model, aligned in pairs)
    _refuse_above(error, "The permutation found for the second network")
    return error


def _refuse_above(error: float, what: str) -> None:
    if not error <= LARGEST_ERROR:  # so that NaN is refused too
        raise NotEquivalent(
            f"{what} changes its outputs by {error:.2g} of their size; more than {LARGEST_ERROR:g} is no permutation "
            "symmetry. This network cannot be merged; please report it with its architecture."
        )


def _check_models(models: Sequence[nn.Module]) -> None:
    if len(models) != 2:
        raise IncompatibleModels(f"{len(models)} networks are given; this version merges exactly two.")
    devices = {p.device for model in models for p in model.parameters()}
    if len(devices) > 1:
        raise IncompatibleModels(f"The networks are on {' and '.join(sorted(map(str, devices)))}; move them to one.")
    for number, model in enumerate(models):
        parameters = dict(model.named_parameters())
        for name, tensor in named_tensors(model).items():
            if not tensor.is_floating_point():
                continue
            broken = not torch.isfinite(tensor).all() if name in parameters else torch.isnan(tensor).any()
            if broken:
                raise IncompatibleModels(
                    f"Network {'AB'[number]} holds NaN or infinity in {name}. Its training failed; choose another."
                )


def _in_eval_mode(model: nn.Module) -> nn.Module:
    """The model itself, or a copy where it is in training mode: the caller's model is not changed."""
    return copy.deepcopy(model).eval() if any(module.training for module in model.modules()) else model


def _inputs(model: nn.Module, example: Tensor | None, data: Batches | None, count: int = 2) -> Tensor:
    """Inputs on the model's device and in its precision: the example, or else the first images of the data."""
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise IncompatibleModels("These networks have no parameters; there is nothing to merge.")
    if example is not None:
        return example.to(parameter.device, parameter.dtype if example.is_floating_point() else None)
    if data is None:
        raise InvalidRequest("Give data, or an example of the networks' input, to trace them with.")
    return data.on_model(model).example(count)


def _checked_weights(weights: Sequence[float], count: int) -> tuple[float, ...]:
    shares = tuple(float(weight) for weight in weights)
    if len(shares) != count or not all(map(math.isfinite, shares)) or abs(math.fsum(shares) - 1) > 1e-9:
        raise InvalidRequest(f"Weights are {shares}; give {count} numbers that sum to 1.")
    return shares
