"""Forecast of a sweep's cost before it starts, and a cheaper version of it. torch-free."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.base import Request
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.requests.train import TrainRequest
from merging.jobs.sweeps.look import Look
from merging.jobs.sweeps.plan import merge_of, no_network


@dataclass(frozen=True)
class Cost:
    """What is left to do.

    Attributes:
        trainings, merges: numbers of parts that are not done.
        seconds: forecast duration of those parts of which similar ones have run, one after another.
        unknown: number of parts of which no similar one has run.
    """

    trainings: int
    merges: int
    seconds: float
    unknown: int


def cost(ledger: Ledger, sweep: SweepRequest, seen: Look) -> Cost:
    """Forecast the cost of what is left of a sweep.

    Parts that differ only in seeds take equally long.
    """
    trainings: list[Request] = [part.request for part in seen.trainings if part.state != "done"]
    made: dict[Any, Request] = {}  # groups and seeds do not change how long a merge takes
    for cell, _ in seen.cells:
        if (cell.values, cell.triple) not in made:
            made[cell.values, cell.triple] = merge_of(sweep, cell, no_network)
    merges = [
        made[cell.values, cell.triple]
        for part, (cell, _) in zip(seen.merges, seen.cells, strict=True)
        if part is None or part.state != "done"
    ]
    known: dict[str, float] = {}
    for request in (*trainings, *merges):
        if _likeness(request) not in known:
            known[_likeness(request)] = sum(ledger.expected(request).values())
    spent = [known[_likeness(request)] for request in (*trainings, *merges)]
    return Cost(len(trainings), len(merges), sum(spent), sum(seconds == 0 for seconds in spent))


def cheaper(sweep: SweepRequest) -> dict[str, int]:
    """Numbers of a cheaper version of the sweep: one group, one seed, few epochs, images and lambdas."""
    least = {"groups": 1, "seeds": 1, "epochs": 2, "images": 500, "points": 5}
    return {name: number for name, number in least.items() if number < getattr(sweep, name)}


def _likeness(request: Request) -> str:
    """Text that is equal for requests that differ only in seeds and networks of equal structure."""
    values = json.loads(request.to_json())
    left_out = {"seed", "name"}
    if isinstance(request, TrainRequest):
        left_out |= {"start", "keep"}
    values["models"] = [model["config"] for model in values.get("models", ())]
    return json.dumps({key: value for key, value in values.items() if key not in left_out}, sort_keys=True)
