"""Complete merge: trace, verify, align, combine, correct. It fails unless pi(B) computes the same function as B."""

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
from merging.naming import letter
from merging.network.batch_norm import batch_norms
from merging.network.constants import constants_of
from merging.network.data import as_batches
from merging.network.outputs import are_probabilities
from merging.network.permutation import Permutation, permute, with_tensors
from merging.network.tracing import tracer
from merging.network.tracing.proof import output_difference, permuted_difference, proof_inputs
from merging.pipeline.models import checked_models, in_eval_mode, inputs_for, read_problem, refuse_above
from merging.progress import Progress, no_progress
from merging.settings import read_settings

EQUIVALENCE_IMAGES = 64


@dataclass(frozen=True)
class Prepared:
    """Merge prepared for any weights of the models, so that all points of an interpolation curve share it.

    Attributes:
        problem: the models with the aligned models filled in.
        alignment: the unit mapping of every model.
        method: the combination method.
        combiner: weights -> combined tensors.
        corrector: combined net and weights -> corrected net.
        notes: results per stage, as in `merge`.
    """

    problem: Problem
    alignment: Alignment
    method: Method
    combiner: Combiner
    corrector: Corrector
    notes: Mapping[str, Any]

    def combine(self, weights: Sequence[float]) -> nn.Module:
        """Return the combined, uncorrected network.

        weights: one per model, summing to 1. (1, 0) gives the aligned A bit for bit if `Method.ends` is true.
        """
        tensors = self.combiner(checked_weights(weights, len(self.problem.models)))
        first = self.problem.models[0]
        constants = constants_of(first)
        return with_tensors(first, {name: tensor for name, tensor in tensors.items() if name not in constants})

    def correct(self, net: nn.Module, weights: Sequence[float]) -> nn.Module:
        """Return the corrected network, for a network that `combine` returned for the same weights."""
        return self.corrector(net, checked_weights(weights, len(self.problem.models)))

    def merge(self, weights: Sequence[float] | None = None) -> MergeResult:
        """Return the combined and corrected network, with equal weights by default."""
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
    """Merge 2 to 32 networks with the same structure; the input networks are not changed.

    Args:
        models: the networks; the first is A.
        align, combine, correct: keys of the method tables.
        base: the network that all were fine-tuned from, for methods that merge experts (task arithmetic, TIES, DARE).
        example: inputs (n, ...) to trace with, by default the first images of `data`.
        data: training images, see `network.data.as_batches`.
        settings: role -> settings of that role's method.
        seed: seed of all random choices.
        report: called as report(stage, fraction, message).
        weights: one per model, summing to 1, equal by default.
    Returns:
        The merge. Its notes are `trace`, `align`, `combine`, `correct`, and:
        objective, distance: inner product and distance of A's and pi(B)'s parameters.
        equivalence: max |B - pi(B)| over the outputs, relative to the largest output, in float64. It exceeds rounding
            only for aligners that map units (`Method.permutes` is false).
        outputs: "probabilities" if the networks end in a softmax; losses then use the logarithms of the outputs.
    Raises:
        IncompatibleModels, UnsupportedOperation, NotEquivalent, DataUnavailable, InvalidSetting, InvalidRequest.
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
    """Trace, verify and align once, and measure what the correction needs; arguments and errors as in `merge`."""
    methods = _methods({"align": align, "combine": combine, "correct": correct}, data)
    wishes = _settings(methods, settings or {})
    ready = checked_models(models, base)
    _check_fit(methods, len(ready), base)
    batches = None if data is None else as_batches(data)
    inputs = inputs_for(ready[0], example, batches)
    start = None if base is None else in_eval_mode(base)
    unequal = methods["align"].unequal_widths
    problem, error = read_problem(ready, start, inputs, batches, seed, report or no_progress, unequal_widths=unequal)
    alignment = _align(problem, methods["align"], wishes["align"])
    problem = replace(problem, aligned=_aligned(problem, alignment))
    equivalence = _check_equivalence(problem, alignment.permutations, example, methods["align"].permutes)
    problem.report("combining", 0.0, methods["combine"].label)
    combiner = methods["combine"].run(problem, wishes["combine"])
    corrector = methods["correct"].run(problem, wishes["correct"])
    notes = {
        "trace": trace_notes(problem, error),
        "align": alignment.notes,
        "combine": combiner.notes,
        "correct": corrector.notes,
        "equivalence": equivalence,
        **agreement(*({name: p.detach() for name, p in model.named_parameters()} for model in problem.aligned)),
        **_outputs(ready[0], inputs),
    }
    return Prepared(problem, alignment, methods["combine"], combiner, corrector, notes)


def _methods(keys: Mapping[Role, str], data: Any) -> dict[Role, Method]:
    methods = {role: find(role, key) for role, key in keys.items()}
    for method in methods.values():
        if method.needs_data and data is None:
            raise DataUnavailable(f"{method.label} needs training images. Give data, or choose another method.")
    return methods


def _check_fit(methods: Mapping[Role, Method], count: int, base: nn.Module | None) -> None:
    for method in methods.values():
        if count > method.most_models:
            raise InvalidRequest(f"{method.label} takes at most {method.most_models} networks; {count} are given.")
    combine = methods["combine"]
    if combine.needs_base and base is None:
        raise InvalidRequest(f"{combine.label} merges experts of one base network; give that network as `base`.")
    if base is not None and not combine.needs_base:
        raise InvalidRequest(f"{combine.label} does not use a base network; leave `base` out.")


def _settings(methods: Mapping[Role, Method], settings: Mapping[str, Mapping[str, Any]]) -> dict[Role, Any]:
    for role in settings:
        if role not in ROLES:
            raise InvalidSetting(f"Settings are given for {role!r}; they can be given for {', '.join(ROLES)}.")
    return {role: read_settings(method.settings, settings.get(role)) for role, method in methods.items()}


def _align(problem: Problem, method: Method, settings: Any) -> Alignment:
    """Return the alignment of all models, from one joint run or from one run per pair with the first model."""
    if not problem.spec.groups:  # no unit may be permuted, and aligners need at least one group
        return Alignment(tuple({} for _ in problem.models))
    if method.joint or len(problem.models) == 2:
        return method.run(problem, settings)
    pairs = []
    for number in range(1, len(problem.models)):
        problem.report("matching", 0.0, f"network {letter(number)} to A")
        pairs.append(method.run(problem.pair(number), settings))
    maps = tuple(pair.maps[1] for pair in pairs if pair.maps)
    notes = {letter(number): pair.notes for number, pair in enumerate(pairs, 1)}
    permutations = (pairs[0].permutations[0], *(pair.permutations[1] for pair in pairs))
    return Alignment(permutations, {"by_model": notes}, (pairs[0].maps[0], *maps) if maps else ())


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
    """Return the largest change of any model's outputs by its alignment.

    Raises NotEquivalent if `exact` and the change exceeds rounding.
    """
    images = inputs_for(problem.models[0], None if problem.data else example, problem.data, EQUIVALENCE_IMAGES)
    problem.report("verifying", 0.0, "comparing B with π(B)")
    images = proof_inputs(problem.models[0], images, problem.seed, problem.graph)
    pairs = [*zip(problem.models, problem.aligned, permutations, strict=True)][1:]
    if not exact:
        return max(output_difference(model, aligned, images) for model, aligned, _ in pairs)
    spec, seed = problem.spec, problem.seed
    error = max(permuted_difference(model, aligned, spec, p, images, seed) for model, aligned, p in pairs)
    refuse_above(error, "The permutation of a network other than A")
    return error


def _outputs(model: nn.Module, inputs: Tensor) -> dict[str, str]:
    with torch.no_grad():
        rows = model(inputs).flatten(0, -2)
    return {"outputs": "probabilities"} if are_probabilities(rows) else {}


def trace_notes(problem: Problem, error: float) -> dict[str, Any]:
    """Return the tracing results for the report. error: largest output change when A is permuted at random."""
    places = {group.name: list(group.places) for group in problem.spec.groups}
    permuted, units = tracer.coverage(problem.graph, problem.spec)
    normed = len(batch_norms(problem.models[0]))
    notes = {"places": places, "permuted": permuted, "units": units, "batch_norms": normed, "error": error}
    return {**notes, "pinned": problem.spec.pinned} if problem.spec.pinned else notes


def agreement(first: Mapping[str, Tensor], *others: Mapping[str, Tensor]) -> dict[str, float]:
    """Return inner product and distance of the first model's parameters and each other's, as means over the others.

    first, others: name -> parameter of any shape.
    """
    products = [math.fsum(inner(first[name], other[name]) for name in first) for other in others]
    squares = [math.fsum(_square(first[name] - other[name]) for name in first) for other in others]
    distances = [math.sqrt(square) for square in squares]
    return {"objective": math.fsum(products) / len(others), "distance": math.fsum(distances) / len(others)}


def _square(tensor: Tensor) -> float:
    return inner(tensor, tensor)


def checked_weights(weights: Sequence[float], count: int) -> tuple[float, ...]:
    """Return the share of each of `count` models as floats. Raises InvalidRequest if they do not sum to 1."""
    shares = tuple(float(weight) for weight in weights)
    if len(shares) != count or not all(map(math.isfinite, shares)) or abs(math.fsum(shares) - 1) > 1e-9:
        raise InvalidRequest(f"Weights are {shares}; give {count} numbers that sum to 1.")
    return shares
