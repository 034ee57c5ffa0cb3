"""Loss, accuracy and calibration along the straight line between two networks: theta(l) = (1 - l) A + l B."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from merging.analysis.path.evaluation import batches_on_device, evaluate
from merging.errors import IncompatibleModels, InvalidSetting
from merging.methods.problem import Corrector, Problem
from merging.methods.registry import find
from merging.network.constants import constants_of, equal, refuse_different
from merging.network.data import Batches, as_batches
from merging.network.graph.graph import export
from merging.network.permutation import PermutationSpec, named_tensors, with_tensors
from merging.progress import Progress, no_progress, point_words
from merging.results.reports import LossCurve, Metrics
from merging.settings import read_settings

POINTS = (3, 501)  # least and most; the number is odd, so that one point is the midpoint


@torch.inference_mode(False)
def interpolate(
    a: nn.Module,
    b: nn.Module,
    data: Any,
    *,
    points: int = 25,
    correct: str = "none",
    correction_data: Any = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    report: Progress | None = None,
) -> LossCurve:
    """Measure `points` evenly spaced networks on the line from `a` (lambda 0) to `b` (lambda 1), ends included.

    Parameters and normalisation statistics are interpolated; counters are those of `a`; other buffers must be equal in
    both. Without a correction, the first and last network are the two checkpoints bit for bit; the curve's `ends`
    always holds the metrics of the uncorrected checkpoints.
    Source: Frankle et al. 2020; Ainsworth et al. 2023, Def. 2.1.

    Args:
        a, b: modules of one structure; never changed.
        data: anything that `as_batches` takes.
        correct: key of a correction, applied at every lambda with `correction_data` and `settings`.
        correction_data: training batches; default `data`.

    Raises IncompatibleModels, InvalidSetting, DataUnavailable.
    """
    batches = batches_on_device(a, data)
    corrector = None
    if correct != "none":
        train = batches if correction_data is None else batches_on_device(a, correction_data)
        corrector = corrector_for(a, b, correct, train, settings=settings, seed=seed, report=report)
    by_split = curves(a, b, {"test": batches}, points=points, correct=correct, corrector=corrector, report=report)
    return by_split["test"]


def curves(
    a: nn.Module,
    b: nn.Module,
    splits: Mapping[str, Any],
    *,
    points: int = 25,
    correct: str = "none",
    corrector: Corrector | None = None,
    ends: Mapping[str, tuple[Metrics, Metrics]] | None = None,
    visit: Callable[[nn.Module], None] | None = None,
    report: Progress | None = None,
) -> dict[str, LossCurve]:
    """One LossCurve per split, all measured on the same interpolated weights.

    One copy of `a` is made and overwritten at each point, so memory does not grow with `points`.

    Args:
        splits: "train" | "test" -> data.
        correct: key of the correction, recorded in the curves.
        corrector: (combined network, weights) -> corrected network, called at every lambda.
        ends: metrics of the uncorrected checkpoints, if another curve has already measured them.
        visit: called with the network at every lambda, in order; it is overwritten afterwards.
    """
    if not POINTS[0] <= points <= POINTS[1] or points % 2 == 0:
        raise InvalidSetting(f"A curve needs an odd number of points from {POINTS[0]} to {POINTS[1]}, not {points}.")
    tensors = _tensors(a, b)
    batches = {split: as_batches(data) for split, data in splits.items()}
    _refuse_other_constants(a, b, next(iter(batches.values())))
    lambdas = np.linspace(0, 1, points)
    scratch = with_tensors(a, {})
    by_split: dict[str, list[Metrics]] = {split: [] for split in batches}
    for number, weight in enumerate(lambdas.tolist()):
        net = _network((a, b), tensors, scratch, weight, corrector)
        for split, values in by_split.items():
            values.append(evaluate(net, batches[split]))
        if visit is not None:
            visit(net)
        last = by_split["test" if "test" in by_split else next(iter(by_split))][-1]
        words = point_words(number + 1, points, last.loss, last.accuracy)
        (report or no_progress)("curve", (number + 1) / points, words)
    if corrector is None:
        ends = {split: (values[0], values[-1]) for split, values in by_split.items()}
    elif ends is None:
        ends = {split: (evaluate(a, data), evaluate(b, data)) for split, data in batches.items()}
    return {
        split: _curve(lambdas, values, ends[split], split, batches[split], correct)
        for split, values in by_split.items()
    }


def corrector_for(
    a: nn.Module,
    b: nn.Module,
    key: str,
    data: Batches,
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    report: Progress | None = None,
) -> Corrector:
    """Prepare the correction `key` for the line between two networks whose units are in the same order.

    data: training batches. Raises InvalidSetting for an unknown key, and the errors of tracing the network.
    """
    from merging.network.tracing.tracer import trace_graph
    from merging.pipeline.models import in_eval_mode

    correction = find("correct", key)
    a, b = (in_eval_mode(net) for net in (a, b))  # in training mode, running them would update BatchNorm's statistics
    graph = export(a, data.example())
    problem = Problem((a, b), graph, trace_graph(graph), data, seed, report or no_progress, aligned=(a, b))
    corrector: Corrector = correction.run(problem, read_settings(correction.settings, settings))
    return corrector


def _tensors(a: nn.Module, b: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    first, second = named_tensors(a), named_tensors(b)
    shapes = [{name: tuple(tensor.shape) for name, tensor in net.items()} for net in (first, second)]
    for name in {**shapes[0], **shapes[1]}:
        left, right = (own.get(name, "no such tensor") for own in shapes)
        if left != right:
            raise IncompatibleModels(f"These networks cannot be interpolated: {name} is {left} in A and {right} in B.")
    return first, second


def _refuse_other_constants(a: nn.Module, b: nn.Module, data: Batches) -> None:
    """Raise IncompatibleModels where a constant that the forward pass reads differs between the networks."""
    others = constants_of(b)
    if not all(equal(tensor, others[name].to(tensor.device)) for name, tensor in constants_of(a).items()):
        sources = export(a, data.on_model(a).example()).sources.values()
        refuse_different((a, b), (PermutationSpec(()),) * 2, sources)


def _network(
    ends: tuple[nn.Module, nn.Module],
    tensors: tuple[dict[str, Tensor], dict[str, Tensor]],
    scratch: nn.Module,
    weight: float,
    corrector: Corrector | None,
) -> nn.Module:
    if corrector is None and weight in (0.0, 1.0):
        return ends[int(weight)]
    _fill(scratch, *tensors, weight)
    return scratch if corrector is None else corrector(scratch, (1 - weight, weight))


def _fill(scratch: nn.Module, first: dict[str, Tensor], second: dict[str, Tensor], weight: float) -> None:
    """Overwrite every tensor of `scratch`, including counters, because a corrector may have changed any of them.

    The operations are those of the method "average", so that the curve's midpoint equals that merge bit for bit.
    """
    for name, tensor in named_tensors(scratch).items():
        number = tensor.is_floating_point() or tensor.is_complex()
        if number and not first[name].equal(second[name].to(first[name].device)):
            torch.mul(first[name], 1 - weight, out=tensor).add_(second[name].to(tensor.device), alpha=weight)
        else:
            tensor.copy_(first[name])


def _curve(
    lambdas: np.ndarray,
    values: list[Metrics],
    ends: tuple[Metrics, Metrics],
    split: str,
    batches: Batches,
    correct: str,
) -> LossCurve:
    loss, accuracy, ece = (np.array([getattr(v, key) for v in values]) for key in ("loss", "accuracy", "ece"))
    return LossCurve(lambdas, loss, accuracy, ece, ends, split, batches.count, correct)
