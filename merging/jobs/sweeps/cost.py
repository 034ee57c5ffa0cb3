"""Forecast of a sweep's cost before it starts, and a cheaper version of it. torch-free."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.base import Request
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.requests.train import TrainRequest
from merging.jobs.sweeps.axes import LAMBDA
from merging.jobs.sweeps.look import SweepLook
from merging.jobs.sweeps.plan import no_network, planned_merge, studies_of


@dataclass(frozen=True)
class Cost:
    """What is left to do.

    Attributes:
        trainings, merges, studies: numbers of parts that are not done.
        seconds: forecast duration of those parts of which similar ones have run, one after another.
        unknown: number of parts of which no similar one has run.
    """

    trainings: int
    merges: int
    studies: int
    seconds: float
    unknown: int

    @property
    def parts(self) -> int:
        """Number of all parts that are not done."""
        return self.trainings + self.merges + self.studies


def cost(ledger: Ledger, sweep: SweepRequest, seen: SweepLook) -> Cost:
    """Forecast the cost of what is left of a sweep.

    Parts that differ only in seeds take equally long.
    """
    trainings: list[Request] = [part.request for part in seen.trainings if part.state != "done"]
    made: dict[Any, MergeRequest] = {}  # groups and seeds do not change how long a merge takes
    for cell, _ in seen.cells:
        if (cell.values, cell.triple) not in made:
            made[cell.values, cell.triple] = planned_merge(sweep, cell, no_network)
    merges, studies = dict[Any, Request](), dict[Any, list[Request]]()  # by merge, which several lambdas share
    for merge, studied, (cell, _) in zip(seen.merges, seen.studies, seen.cells, strict=True):
        whole = made[cell.values, cell.triple]
        if merge is None or merge.state != "done":
            merges[cell.merge] = whole
            studies[cell.merge] = list(studies_of(sweep, whole))
        else:
            studies[cell.merge] = [part.request for part in studied if part.state != "done"]
    numbers = len(trainings), len(merges), sum(map(len, studies.values()))
    known: dict[str, float] = {}
    parts = [*trainings, *merges.values(), *itertools.chain(*studies.values())]
    for request in parts:
        if _likeness(request) not in known:
            known[_likeness(request)] = sum(ledger.expected(request).values())
    spent = [known[_likeness(request)] for request in parts]
    return Cost(*numbers, sum(spent), sum(seconds == 0 for seconds in spent))


def cheaper(sweep: SweepRequest) -> dict[str, int]:
    """Numbers of a cheaper version of the sweep: one group, one seed, few epochs, images and lambdas."""
    least = {"groups": 1, "seeds": 1, "epochs": 2, "images": 500, "points": 5}
    if any(key == LAMBDA for key, _ in sweep.axes):
        del least["points"]  # its values are points of the curve
    return {name: number for name, number in least.items() if number < getattr(sweep, name)}


def _likeness(request: Request) -> str:
    """Text that is equal for requests that differ only in seeds and networks of equal structure."""
    values = json.loads(request.to_json())
    left_out = {"seed", "name"}
    if isinstance(request, TrainRequest):
        left_out |= {"start", "keep"}
    merge = values.get("merge", values)  # that of a study
    merge["models"] = [model["config"] for model in merge.get("models", ())]
    merge.pop("seed", None)
    return json.dumps({key: value for key, value in values.items() if key not in left_out}, sort_keys=True)
