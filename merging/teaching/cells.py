"""The sweep of a class, dealt out: each student gets a cell, one point and one group of networks. torch-free."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from merging.errors import InvalidRequest, MergescopeError
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.privacy import ANYONE
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.sweeps.axes import find_axis
from merging.text.sweep_words import value_text
from merging.zoo.datasets.known import may_use

MOST_CELLS = 60
MOST_SWEEPS = 20  # sweeps of a person that are looked at


@dataclass(frozen=True)
class LabCell:
    """A cell. values: one per axis.  group: number of the group of networks."""

    values: tuple[Any, ...]
    group: int


def lab_cells(sweep: SweepRequest) -> list[LabCell]:
    """All cells: the points of the first group, then those of the second, and so on.

    Raises InvalidRequest if the points cannot be asked for one by one, or there are more than MOST_CELLS.
    """
    points = list(itertools.product(*(values for _, values in sweep.axes)))
    cells = [LabCell(values, group) for group in sweep.group_numbers() for values in points]
    sweep.point(cells[0].values, cells[0].group)
    if len(cells) > MOST_CELLS:
        raise InvalidRequest(f"This sweep has {len(cells)} cells; a class takes one of up to {MOST_CELLS}.")
    return cells


def dealt_sweeps(ledger: Ledger, owner: str) -> list[SweepRequest]:
    """The sweeps that this person asked for and that a class can run, newest first; of images that all may use."""
    found = []
    for job in ledger.jobs(owner=owner, kind=SweepRequest.kind, limit=MOST_SWEEPS):
        sweep = read_sweep(json.dumps(job.request))
        if sweep is not None and may_use(sweep.dataset, ANYONE):
            with suppress(InvalidRequest):
                lab_cells(sweep)
                found.append(sweep)
    return found


def dealt(sweep: SweepRequest, number: int) -> LabCell:
    """The cell of student `number`, from 1; with more students than cells, some cells have several students."""
    cells = lab_cells(sweep)
    return cells[(number - 1) % len(cells)]


def cell_words(sweep: SweepRequest, cell: LabCell) -> str:
    """A cell in words: "width of the first hidden layer 32, group 2"."""
    axes = (find_axis(key).label for key, _ in sweep.axes)
    points = ", ".join(f"{label.lower()} {value_text(value)}" for label, value in zip(axes, cell.values, strict=True))
    return f"{points}, group {cell.group}"


def read_sweep(text: str) -> SweepRequest | None:
    """The sweep of a class, None if it has none or another version of the program stored it."""
    try:
        request = from_json(text) if text else None
    except MergescopeError:
        return None
    return request if isinstance(request, SweepRequest) else None


def to_stored(sweep: SweepRequest | None) -> str:
    """The sweep as a class keeps it."""
    return "" if sweep is None else sweep.to_json()
