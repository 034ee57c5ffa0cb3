"""What is shown of units: which picture stands in which slot, sorting, paging, and a word for what became of a unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from merging.results.reports import LayerUnits
from merging.studies.units import WORDS
from merging.text import numbers
from ui.shell.kept import kept

PAGE = 8
SLOTS = {
    "A": "A",
    "pi(B)": "π(B)",
    "merge": "merge",
    "naive": "naive",
    "B": "B, old slot",
}
SORTS = ("unit number", "best match", "worst match", "scale", "most changed")
SHOWN = ("all", "dead", "worst matched")
FATES_MEAN = (
    "; ".join(f"{word}: {says}" for word, says in WORDS.items()) + "."
)  # what the words of `studies.units` mean
WELL, PARTLY = 0.7, 0.3  # match correlations from which two units count as well, or partly, matched


@dataclass(frozen=True)
class Cell:
    """A picture to show. source: whose ("A", "B", "merge", "naive"); unit: its number there; dead: no response;
    peak: its largest response to the data set, in the picture objective's unit."""

    source: str
    unit: int
    dead: bool
    peak: float


def cells(layer: LayerUnits, unit: int) -> dict[str, Cell]:
    """slot -> what stands there in the row of A's unit. π(B)'s pictures are looked up from B's by the partner."""
    seen = {name: row for row, name in enumerate(layer.models)}
    found: dict[str, Cell] = {
        slot: Cell(slot, unit, bool(layer.dead[seen[slot], unit]), float(layer.peak[seen[slot], unit]))
        for slot in ("A", "merge", "naive")
        if slot in seen
    }
    moved = seen["pi(B)"]
    places = {"pi(B)": (int(layer.partner[unit]), unit)}
    moved_to = kept(_moved_to, layer)
    if moved_to is not None:
        places["B"] = (unit, moved_to[unit])
    for slot, (number, at) in places.items():
        found[slot] = Cell("B", number, bool(layer.dead[moved, at]), float(layer.peak[moved, at]))
    return {slot: found[slot] for slot in SLOTS if slot in found}


def _moved_to(layer: LayerUnits) -> list[int] | None:
    """Where in π(B) each of B's units stands now; None where B is wider or narrower than A."""
    if not np.array_equal(np.sort(layer.partner), np.arange(layer.units)):
        return None
    return [int(place) for place in np.argsort(layer.partner)]


def scale(layer: LayerUnits) -> np.ndarray:
    """(U,) standard deviation in the merge over the mean of A's and π(B)'s; NaN where both are 0."""
    return kept(_scale, layer)


def _scale(layer: LayerUnits) -> np.ndarray:
    std = {name: layer.std[row] for row, name in enumerate(layer.models)}
    parents = (std["A"] + std["pi(B)"]) / 2
    return np.divide(std["merge"], parents, out=np.full(layer.units, np.nan), where=parents > 0)


def dead_anywhere(layer: LayerUnits) -> np.ndarray:
    """(U,) bool: dead in A, π(B) or the merge."""
    rows = [row for row, name in enumerate(layer.models) if name != "naive"]
    return np.any(layer.dead[rows], axis=0)


def ordered(layer: LayerUnits, sort: str, shown: str, change: np.ndarray | None = None) -> list[int]:
    """The units of a view, in its order; units without a match correlation come last.

    change: (U,) for "most changed": how much the merge's unit differs from its parents.
    """
    match = layer.match
    keys = {
        "most changed": -np.nan_to_num(change, nan=-np.inf) if change is not None else np.arange(layer.units),
        "best match": np.where(np.isnan(match), np.inf, -match),
        "worst match": np.where(np.isnan(match), np.inf, match),
        "scale": np.nan_to_num(scale(layer), nan=np.inf),
        "unit number": np.arange(layer.units),
    }
    order = np.argsort(keys[sort], kind="stable")
    alive = match[~np.isnan(match)]
    worst = match <= np.quantile(alive, 0.25) if len(alive) else np.zeros(layer.units, bool)
    kept = {"all": np.ones(layer.units, bool), "dead": dead_anywhere(layer), "worst matched": worst}[shown]
    return [int(unit) for unit in order if kept[unit]]


def page_of(units: list[int], number: int) -> tuple[list[int], list[int]]:
    """The units of page `number` (1 is the first), and those of the next one."""
    first = (number - 1) * PAGE
    return units[first : first + PAGE], units[first + PAGE : first + 2 * PAGE]


def first_layer(layers: Sequence[LayerUnits]) -> int:
    """Which layer to begin with: the middle one of those with weights."""
    weighty = [at for at, layer in enumerate(layers) if layer.kind in ("conv", "linear")] or list(range(len(layers)))
    return weighty[len(weighty) // 2]


def pages(units: list[int]) -> int:
    """How many pages, at least 1."""
    return max(1, -(-len(units) // PAGE))


def strength(objective: float, peak: float) -> tuple[str, bool]:
    """A picture's response beside the largest to any image, in words, and whether it is the weaker one.

    A quotient says something only where both excite the unit; else both numbers are told.
    """
    if np.isnan(peak):
        return f"response {objective:.2g}".replace("-", numbers.MINUS), False
    if peak > 0 and objective > 0:
        times = objective / peak
        return f"{numbers.ratio(times) if times < 10 else round(times)}× best image", objective < peak
    return f"response {objective:.2g}, best image {peak:.2g}".replace("-", numbers.MINUS), objective < peak


def fate(layer: LayerUnits, unit: int) -> str:
    """How A's unit fared, in a word or two: dead somewhere, or how well its partner in B fits it."""
    if not layer.images:
        return "not measured"
    seen = {name: bool(layer.dead[row, unit]) for row, name in enumerate(layer.models)}
    match = layer.match[unit]
    if seen["A"] and seen["pi(B)"]:
        return "dead in both"
    if seen["merge"]:
        return "died in the merge"
    if seen["A"] or seen["pi(B)"] or np.isnan(match):
        return "dead in one"
    return "well matched" if match >= WELL else "partly matched" if match >= PARTLY else "poorly matched"
