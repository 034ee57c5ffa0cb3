"""Where lessons take their numbers from: finished runs, named by an example or by their address, and their studies."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np

from merging.errors import InvalidSetting
from merging.jobs.guesses import OPTIONS, Round, rounds
from merging.jobs.ledger.jobs import Job
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.pictures import PicturesRequest
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.study import StudyRequest
from merging.jobs.requests.sweep import SweepRequest
from merging.results import saving
from merging.results.reports import LayerUnits, MergeReport, UnitPicture
from merging.results.sweep_report import SweepReport, SweepRow
from merging.studies.registry import load_finding
from merging.zoo.catalogue import example_pairs

WIDTHS = "widths"  # names the shipped sweep over the width
GAME_UNITS = 32  # the best matched units of a layer, as in the game on Neurons


def find_run(ledger: Ledger, run: str) -> Job:
    """The finished run that a lesson names: the key of an example pair, "widths", or an address's id.

    Raises InvalidSetting if it is not here or not finished.
    """
    pair = next((pair for pair in example_pairs() if pair.key == run), None)
    if pair is not None:
        job = ledger.shipped.of_pair(pair)
    elif run == WIDTHS:
        job = next((job for job in ledger.examples() if job.kind == "sweep"), None)
    else:
        job = ledger.job(run)
    if job is None or job.state != "done":
        raise InvalidSetting(f"The lesson needs the run {run!r}, which is not among the finished runs here")
    return job


def read_merge(ledger: Ledger, run: str) -> MergeReport:
    """Report of a merge. Raises InvalidSetting if the run is no finished merge."""
    found = _report(ledger, find_run(ledger, run).id)
    if not isinstance(found, MergeReport):
        raise InvalidSetting(f"{run!r} is no merge")
    return found


def sweep_of(ledger: Ledger, run: str) -> tuple[SweepRequest, tuple[SweepRow, ...]]:
    """Request and rows of a finished sweep. Raises InvalidSetting if the run is none."""
    job = find_run(ledger, run)
    request, found = from_json(json.dumps(job.request)), _report(ledger, job.id)
    if not isinstance(request, SweepRequest) or not isinstance(found, SweepReport):
        raise InvalidSetting(f"{run!r} is no sweep")
    return request, found.rows


def finding_of(ledger: Ledger, run: str, study: str, settings: dict[str, Any] | None = None) -> Any:
    """Finding of a study of a run. Raises InvalidSetting if the run was not studied so."""
    request = _merge_request(find_run(ledger, run))
    return _finding(ledger, StudyRequest(request, study, settings or {}).id, f"{study!r} of the run {run!r}")


def units_of_layer(ledger: Ledger, run: str, layer: str) -> LayerUnits:
    """Measurements of one layer's units. Raises InvalidSetting for a layer without them."""
    found = next((units for units in read_merge(ledger, run).units if units.layer == layer), None)
    if found is None:
        raise InvalidSetting(f"The run {run!r} has no units of a layer {layer!r}")
    return found


def game_round(ledger: Ledger, run: str, layer: str, number: int) -> Round:
    """Round `number` of the game "Which is it?" of a layer, the same as on Neurons. Raises InvalidSetting."""
    units = units_of_layer(ledger, run, layer)
    a, b = units.models.index("A"), units.models.index("pi(B)")
    alive = [int(unit) for unit in np.argsort(-units.match, kind="stable") if not units.dead[[a, b], unit].any()]
    asked = rounds(alive[:GAME_UNITS], units.partner, find_run(ledger, run).id)
    if not 0 <= number < len(asked):
        raise InvalidSetting(f"The game of {layer!r} has {len(asked)} rounds, numbered from 0")
    return asked[number]


def round_pictures(ledger: Ledger, run: str, layer: str, number: int) -> list[np.ndarray]:
    """Pictures (H, W, C) of a round: of A's unit, then of the OPTIONS units of B. Raises InvalidSetting."""
    asked, request = game_round(ledger, run, layer, number), _merge_request(find_run(ledger, run))
    found = [_picture(ledger, request, 0, layer, asked.unit)]
    found += [_picture(ledger, request, 1, layer, unit) for unit in asked.options]
    assert len(found) == OPTIONS + 1
    return found


def _picture(ledger: Ledger, request: MergeRequest, model: int, layer: str, unit: int) -> np.ndarray:
    data = ledger.pictures(PicturesRequest(request.models[model], layer, (unit,)), (unit,))
    if unit not in data:
        raise InvalidSetting(f"There is no picture of unit {unit} of {layer!r}. Open the unit on Neurons once")
    picture = saving.load(data[unit])
    assert isinstance(picture, UnitPicture)
    return picture.pixels


def _merge_request(job: Job) -> MergeRequest:
    request = from_json(json.dumps(job.request))
    if not isinstance(request, MergeRequest):
        raise InvalidSetting(f"The run {job.id[:12]} is no merge")
    return request


@lru_cache(maxsize=32)
def _report(ledger: Ledger, job: str) -> Any:
    return ledger.report(job)


@lru_cache(maxsize=32)
def _finding(ledger: Ledger, job: str, what: str) -> Any:
    data = ledger.artifact(job, "finding")
    if data is None:
        raise InvalidSetting(f"There is no finding of the study {what}")
    return load_finding(data)
