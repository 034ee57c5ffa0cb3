"""The whole merge: trace, verify, align, combine, correct. Nothing is shown before pi(B) is known to equal B."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from merging.errors import DataUnavailable, InvalidRequest, InvalidSetting
from merging.methods.algorithms.coordinate_descent import inner
from merging.methods.algorithms.unit_maps import mapped
from merging.methods.problem import Alignment, Combiner, Corrector, MergeResult, Problem
from merging.methods.registry import ROLES, Method, Role, find
from merging.network.batch_norm import batch_norms
from merging.network.constants import constants_of
from merging.network.data import as_batches
from merging.network.outputs import are_probabilities
from merging.network.permutation import Permutation, permute, with_tensors
from merging.network.tracing import tracer
from merging.network.tracing.proof import output_difference, permuted_difference, proof_inputs
from merging.pipeline.models import checked_models, in_eval_mode, inputs_for, pinned_of, read_problem, refuse_above
from merging.progress import Progress, no_progress
from merging.results.reports import letter
from merging.settings import read_settings

EQUIVALENCE_IMAGES = 64


@dataclass(frozen=True)
class Prepared:
    """A merge up to the point where only the weights of the models are open, so that a whole curve shares the work.

    problem: with the aligned models.  notes: what was found by stage.  method: of the combination.
    """

    problem: Problem
    alignment: Alignment
    method: Method
    combiner: Combiner
    corrector: Corrector
    notes: Mapping[str, Any]

    def combine(self, weights: Sequence[float]) -> nn.Module:
        """The combined net, not corrected. weights: one a model, summing to 1; (1, 0) gives aligned A bit for bit where
        the method has such ends."""
        tensors = self.combiner(checked_weights(weights, len(self.problem.models)))
        first = self.problem.models[0]
        constants = constants_of(first)
        return with_tensors(first, {name: tensor for name, tensor in tensors.items() if name not in constants})

    def correct(self, net: nn.Module, weights: Sequence[float]) -> nn.Module:
        """The corrected net, for a net that `combine` gave for the same weights."""
        return self.corrector(net, checked_weights(weights, len(self.problem.models)))

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
    report: Progress | None = None,
    weights: Sequence[float] | None = None,
) -> MergeResult:
    """Merge two to ten networks of one structure; the inputs are left as they are.

    align, combine, correct: keys of the method tables.  settings: role -> that method's settings.  base: the network
    that all were trained from, for methods of experts (task arithmetic, TIES, DARE).  example: inputs
    (n, ...) to trace with, by default the first of data.  data: training images, see `data.as_batches`.  weights: one
    a model, summing to 1, equal by default.  report: called with (stage, fraction, message).
    The result's notes: `trace`, `align`, `combine`, `correct`; `objective` and `distance`, inner product and distance
    of A's and pi(B)'s parameters; `equivalence`, max |B - pi(B)| over the outputs relative to the largest, in
    float64, above rounding only for aligners that map units (`Method.permutes` is false); and `outputs`,
    "probabilities" where the networks end in a softmax: losses are then taken of the logarithms.
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


@torch.inference_mode(False)
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
    report: Progress | None = None,
) -> Prepared:
    """Trace, verify and align once, and measure what the correction needs; arguments and errors as of `merge`."""
    chosen = _methods({"align": align, "combine": combine, "correct": correct}, data)
    wishes = _settings(chosen, settings or {})
    ready = checked_models(models, base)
    _check_fit(chosen, len(ready), base)
    batches = None if data is None else as_batches(data)
    inputs = inputs_for(ready[0], example, batches)
    start = None if base is None else in_eval_mode(base)
    unequal = chosen["align"].unequal_widths
    problem, error = read_problem(ready, start, inputs, batches, seed, report or no_progress, unequal_widths=unequal)
    alignment = _align(problem, chosen["align"], wishes["align"])
    problem = replace(problem, aligned=_aligned(problem, alignment))
    equivalence = _check_equivalence(problem, alignment.permutations, example, chosen["align"].permutes)
    problem.report("combining", 0.0, chosen["combine"].label)
    combiner = chosen["combine"].run(problem, wishes["combine"])
    corrector = chosen["correct"].run(problem, wishes["correct"])
    notes = {
        "trace": trace_notes(problem, error),
        "align": alignment.notes,
        "combine": combiner.notes,
        "correct": corrector.notes,
        "equivalence": equivalence,
        **agreement(*({name: p.detach() for name, p in model.named_parameters()} for model in problem.aligned)),
        **_outputs(ready[0], inputs),
    }
    return Prepared(problem, alignment, chosen["combine"], combiner, corrector, notes)


def _methods(keys: Mapping[Role, str], data: Any) -> dict[Role, Method]:
    chosen = {role: find(role, key) for role, key in keys.items()}
    for method in chosen.values():
        if method.needs_data and data is None:
            raise DataUnavailable(f"{method.label} needs training images. Give data, or choose another method.")
    return chosen


def _check_fit(chosen: Mapping[Role, Method], count: int, base: nn.Module | None) -> None:
    for method in chosen.values():
        if count > method.most_models:
            raise InvalidRequest(f"{method.label} takes {method.most_models} networks at most; {count} are given.")
    combine = chosen["combine"]
    if combine.needs_base and base is None:
        raise InvalidRequest(f"{combine.label} merges experts of one base network; give that as `base`.")
    if base is not None and not combine.needs_base:
        raise InvalidRequest(f"{combine.label} does not look at a base network; leave `base` out.")


def _settings(chosen: Mapping[Role, Method], given: Mapping[str, Mapping[str, Any]]) -> dict[Role, Any]:
    for role in given:
        if role not in ROLES:
            raise InvalidSetting(f"Settings are given for {role!r}; they can be given for {', '.join(ROLES)}.")
    return {role: read_settings(method.settings, given.get(role)) for role, method in chosen.items()}


def _align(problem: Problem, method: Method, settings: Any) -> Alignment:
    """All models' way into the merged units: found at once, or of each other model to the first."""
    if not problem.spec.groups:  # nothing may change places, so that there is nothing to find
        return Alignment(tuple({} for _ in problem.models))
    if method.joint or len(problem.models) == 2:
        return method.run(problem, settings)
    found = []
    for number in range(1, len(problem.models)):
        problem.report("matching", 0.0, f"network {letter(number)} to A")
        found.append(method.run(problem.pair(number), settings))
    maps = tuple(one.maps[1] for one in found if one.maps)
    notes = {letter(number): one.notes for number, one in enumerate(found, 1)}
    permutations = (found[0].permutations[0], *(one.permutations[1] for one in found))
    return Alignment(permutations, {"by_model": notes}, (found[0].maps[0], *maps) if maps else ())


def _aligned(problem: Problem, alignment: Alignment) -> tuple[nn.Module, ...]:
    if alignment.maps:
        return tuple(
            mapped(model, problem.structure(number)[1], problem.models[0], permutation, maps)
            for number, (model, permutation, maps) in enumerate(
                zip(problem.models, alignment.permutations, alignment.maps, strict=True)
            )
        )
    first, *others = problem.models
    return (first, *(permute(m, problem.spec, p) for m, p in zip(others, alignment.permutations[1:], strict=True)))


def _check_equivalence(
    problem: Problem, permutations: Sequence[Permutation], example: Tensor | None, exact: bool
) -> float:
    """The largest change of a model's outputs by aligning it; refused above rounding where it must be none."""
    images = inputs_for(problem.models[0], None if problem.data else example, problem.data, EQUIVALENCE_IMAGES)
    problem.report("verifying", 0.0, "comparing B with π(B)")
    images = proof_inputs(problem.models[0], images, problem.seed, problem.graph)
    pairs = [*zip(problem.models, problem.aligned, permutations, strict=True)][1:]
    if not exact:
        return max(output_difference(model, aligned, images) for model, aligned, _ in pairs)
    spec, seed = problem.spec, problem.seed
    error = max(permuted_difference(model, aligned, spec, p, images, seed) for model, aligned, p in pairs)
    refuse_above(error, "The permutation found for another network than the first")
    return error


def _outputs(model: nn.Module, inputs: Tensor) -> dict[str, str]:
    with torch.no_grad():
        rows = model(inputs).flatten(0, -2)
    return {"outputs": "probabilities"} if are_probabilities(rows) else {}


def trace_notes(problem: Problem, error: float) -> dict[str, Any]:
    """What tracing found, for a report. error: the largest output change by permuting the first model at random."""
    places = {group.name: list(group.places) for group in problem.spec.groups}
    permuted, units = tracer.coverage(problem.graph, problem.spec)
    normed = len(batch_norms(problem.models[0]))
    pinned = pinned_of(problem.graph, problem.models[0])
    found = {"places": places, "permuted": permuted, "units": units, "batch_norms": normed, "error": error}
    return {**found, "pinned": pinned} if pinned else found


def agreement(first: Mapping[str, Tensor], *others: Mapping[str, Tensor]) -> dict[str, float]:
    """How near the aligned models' parameters are to the first's: inner product and distance, the mean over models.

    first, others: name -> parameter of any shape.
    """
    products = [math.fsum(inner(first[name], other[name]) for name in first) for other in others]
    squares = [math.fsum(_square(first[name] - other[name]) for name in first) for other in others]
    distances = [math.sqrt(square) for square in squares]
    return {"objective": math.fsum(products) / len(others), "distance": math.fsum(distances) / len(others)}


def _square(tensor: Tensor) -> float:
    return inner(tensor, tensor)


def checked_weights(weights: Sequence[float], count: int) -> tuple[float, ...]:
    """How much of each of `count` models a merge takes. Raises InvalidRequest where they do not sum to 1."""
    shares = tuple(float(weight) for weight in weights)
    if len(shares) != count or not all(map(math.isfinite, shares)) or abs(math.fsum(shares) - 1) > 1e-9:
        raise InvalidRequest(f"Weights are {shares}; give {count} numbers that sum to 1.")
    return shares
