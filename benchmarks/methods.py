"""Cost of methods relative to the least that they can cost: `python -m benchmarks.methods`.

ZipIt!'s greedy step is compared with one assignment of the same layer; CCA's map with its own decompositions; a step of
the straight-through estimator with a plain training step plus its own matching; a step of Sinkhorn with a training
step, its normalisations and moves. The check on held-out images is made once in these few steps, and by default twenty
times per run. One thread; the sides run in turns.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from scipy.optimize import linear_sum_assignment

from benchmarks.timing import interleave, ratios, spread, table, write
from merging.methods.algorithms import coordinate_descent as matching
from merging.methods.algorithms.coordinate_descent import coordinate_descent
from merging.methods.algorithms.frank_wolfe import soften
from merging.methods.algorithms.gradient_training import Forward, descend, parameters_of, without_end
from merging.methods.algorithms.greedy_zip import zip_units
from merging.methods.algorithms.joint_moments import halves
from merging.methods.align import sinkhorn as sinkhorn_file
from merging.methods.align import straight_through as straight_through_file
from merging.methods.align.cca import canonical_map
from merging.methods.align.sinkhorn import SinkhornSettings, doubly_stochastic, sinkhorn
from merging.methods.align.straight_through import StraightThroughSettings, straight_through
from merging.methods.problem import Problem
from merging.network.data import Batches
from merging.network.graph.graph import export
from merging.network.permutation import restricted
from merging.network.tracing.tracer import trace_graph
from merging.paths import ASSETS
from merging.zoo.checkpoints.checkpoint import load_checkpoint
from merging.zoo.datasets.load import load_split

ZOO = ASSETS / "zoo"
STEPS, BATCH = 20, 125


def main() -> None:
    """Write one table."""
    torch.set_num_threads(1)
    rows = [*zip_rows(), cca_row(512)]
    # Only the check at the end.
    with patch.multiple(straight_through_file, CHECKS=1), patch.multiple(sinkhorn_file, CHECKS=1):
        rows += [step_row("fashion-mlp-512"), step_row("fashion-cnn"), sinkhorn_row("fashion-mlp-128")]
    write(table(("what", "it, s", "the least, s", "ratio"), rows))


def zip_rows() -> list[tuple[str, ...]]:
    """For each layer of a pair: the greedy step over the units of both networks, and one assignment between them."""
    problem, rows = shipped("fashion-mlp-512"), []
    for name, (one, two) in halves(problem, training(problem), "after").items():
        both = one + two
        correlation, units = both.correlation(), both.sizes[0]
        costs = -correlation[:units, units:].numpy()
        rows.append(
            timed(
                f"ZipIt!, layer {name} of 512 units / an assignment",
                partial(zip_units, correlation, both.sizes, 0.3, 0.125),
                partial(linear_sum_assignment, costs),
            )
        )
    return rows


def cca_row(units: int) -> tuple[str, ...]:
    """The map from covariances, and two symmetric eigendecompositions plus one singular value decomposition."""
    features = torch.randn(4 * units, 2 * units, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = features.T @ features / len(features)
    xx, xy, yy = whole[:units, :units], whole[:units, units:], whole[units:, units:]

    def least() -> None:
        torch.linalg.eigh(xx)
        torch.linalg.eigh(yy)
        torch.linalg.svd(xy)

    return timed(f"CCA, {units} units / its decompositions", lambda: canonical_map(xx, xy, yy, 0.1), least)


def step_row(pair: str) -> tuple[str, ...]:
    """STEPS steps of the straight-through estimator, and as many training steps plus its own matchings."""
    problem = shipped(pair)
    settings = StraightThroughSettings(steps=STEPS, batch=BATCH, images=2 * STEPS * BATCH)
    matchings = recorded(lambda: straight_through(problem, settings))
    forward, leaves = Forward(problem.models[0]), trainable(problem)

    def least() -> None:
        steps = descend(
            leaves, 1e-3, without_end(training(problem), problem.models[0], 0), lambda x, y: forward.loss(leaves, x, y)
        )
        for _ in range(STEPS):
            next(steps)
        for a, b, spec, start, rng in matchings:
            coordinate_descent(a, b, spec, start, deepcopy(rng), 100, lambda sweep, gain: None)

    return timed(
        f"STE, {STEPS} steps, {pair} / training steps and its matchings",
        lambda: straight_through(problem, settings),
        least,
        3,
    )


def recorded(run: Callable[[], object]) -> list[tuple[Any, ...]]:
    """Arguments of every coordinate descent in a run: tensors, groups, start, and the state of its random draws."""
    calls: list[tuple[Any, ...]] = []

    def noted(a: Any, b: Any, spec: Any, start: Any, rng: Any, *rest: Any) -> Any:
        calls.append(({name: t.clone() for name, t in a.items()}, b, spec, dict(start), deepcopy(rng)))
        return coordinate_descent(a, b, spec, start, rng, *rest)

    with patch.object(matching, "coordinate_descent", noted):
        run()
    return calls


def sinkhorn_row(pair: str) -> tuple[str, ...]:
    """STEPS steps on the half-way loss, and as many training steps, normalisations and moves with their gradients."""
    problem = shipped(pair)
    settings = SinkhornSettings(objective="midpoint", steps=STEPS, batch=BATCH, images=2 * STEPS * BATCH)
    forward, leaves = Forward(problem.models[0]), trainable(problem)
    logits = {group.name: torch.randn(group.size, group.size).requires_grad_() for group in problem.spec.groups}
    other = parameters_of(problem.models[1])
    spec = restricted(problem.spec, other)

    def least() -> None:
        steps = descend(
            leaves, 1e-3, without_end(training(problem), problem.models[0], 0), lambda x, y: forward.loss(leaves, x, y)
        )
        for _ in range(STEPS):
            next(steps)
            soft = {name: doubly_stochastic(p, settings.iterations) for name, p in logits.items()}
            tensors = soften(other, spec, soft)
            torch.stack([tensor.sum() for tensor in tensors.values()]).sum().backward()

    return timed(
        f"Sinkhorn, {STEPS} steps, {pair} / training steps, normalisations, moves",
        lambda: sinkhorn(problem, settings),
        least,
        3,
    )


def shipped(pair: str) -> Problem:
    """A shipped pair with the training images that its steps take."""
    models = tuple(load_checkpoint(ZOO / f"{pair}-s{seed}.safetensors").build() for seed in (0, 1))
    dataset = load_split("fashion-mnist", "train", 2 * STEPS * BATCH)
    data = Batches(torch.tensor(dataset.images), torch.tensor(dataset.labels, dtype=torch.int64), BATCH)
    graph = export(models[0], data.example())
    return Problem(models, graph, trace_graph(graph), data)


def training(problem: Problem) -> Batches:
    """Training images of a `shipped` pair."""
    assert problem.data is not None
    return problem.data


def trainable(problem: Problem) -> dict[str, torch.Tensor]:
    """Parameters of the first model, as leaves of autograd."""
    return {name: p.clone().requires_grad_() for name, p in parameters_of(problem.models[0]).items()}


def timed(name: str, it: Callable[[], object], least: Callable[[], object], repeats: int = 5) -> tuple[str, ...]:
    """One line of the table: both sides in turns."""
    timings = interleave({"it": it, "least": least}, repeats)
    return name, spread(timings["it"]), spread(timings["least"]), spread(ratios(timings["it"], timings["least"]), 2)


if __name__ == "__main__":
    main()
