"""Display logic of units: the picture at each position of a row, sorting, paging, and words for a unit's outcome."""

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
    "naive": "naive average",
    "B": "B, old position",
}
SORTS = ("best match", "unit number", "worst match", "scale", "most changed")
SHOWN = ("all", "dead", "worst matched")
FATES_MEAN = "; ".join(f"{word}: {says}" for word, says in WORDS.items()) + "."  # the outcomes of `studies.units`
UNKNOWN = (float("nan"), float("nan"))
WELL, PARTLY = 0.7, 0.3  # lowest match correlation of a well matched and of a partly matched unit


@dataclass(frozen=True)
class Cell:
    """A picture to show.

    Attributes:
        source: the network, "A", "B", "merge" or "naive".
        unit: the unit's number in that network.
        dead: whether it responds to no image.
        seen: its mean and its largest response to the images of the data set, after the nonlinearity.
    """

    source: str
    unit: int
    dead: bool
    seen: tuple[float, float] = UNKNOWN


def cells(layer: LayerUnits, unit: int) -> dict[str, Cell]:
    """Position -> its cell in the row of A's unit. The picture at π(B) is that of the partner unit in B."""
    return kept(_rows, layer)[unit]


def _rows(layer: LayerUnits) -> list[dict[str, Cell]]:
    dead = dict(zip(layer.models, layer.dead.tolist(), strict=True))
    seen = dict(zip(layer.models, _seen(layer), strict=True))
    partner, moved_to = layer.partner.tolist(), _moved_to(layer)

    def row(unit: int) -> dict[str, Cell]:
        of_b = {"pi(B)": (partner[unit], unit)} | ({"B": (unit, moved_to[unit])} if moved_to is not None else {})
        by_position: dict[str, Cell] = {
            slot: Cell(slot, unit, dead[slot][unit], seen[slot][unit])
            for slot in ("A", "merge", "naive")
            if slot in dead
        }
        by_position |= {
            slot: Cell("B", number, dead["pi(B)"][at], seen["pi(B)"][at]) for slot, (number, at) in of_b.items()
        }
        return {slot: by_position[slot] for slot in SLOTS if slot in by_position}

    return [row(unit) for unit in range(layer.units)]


def _seen(layer: LayerUnits) -> list[list[tuple[float, float]]]:
    """Mean and largest response of each unit of every network; UNKNOWN in results of earlier versions."""
    if layer.seen_mean.shape != layer.dead.shape:
        return [[UNKNOWN] * layer.units for _ in layer.models]
    return [
        list(zip(*rows, strict=True)) for rows in zip(layer.seen_mean.tolist(), layer.seen_most.tolist(), strict=True)
    ]


def _moved_to(layer: LayerUnits) -> list[int] | None:
    """Index in π(B) of each of B's units; None where B is wider or narrower than A."""
    if not np.array_equal(np.sort(layer.partner), np.arange(layer.units)):
        return None
    return [int(place) for place in np.argsort(layer.partner)]


def scale(layer: LayerUnits) -> np.ndarray:
    """(U,) standard deviation in the merge, divided by the mean of A's and π(B)'s; NaN where that mean is 0."""
    return kept(_scale, layer)


def _scale(layer: LayerUnits) -> np.ndarray:
    std = {name: layer.std[row] for row, name in enumerate(layer.models)}
    parents = (std["A"] + std["pi(B)"]) / 2
    return np.divide(std["merge"], parents, out=np.full(layer.units, np.nan), where=parents > 0)


def dead_anywhere(layer: LayerUnits) -> np.ndarray:
    """(U,) bool, whether the unit is dead in A, π(B) or the merge."""
    rows = [row for row, name in enumerate(layer.models) if name != "naive"]
    return np.any(layer.dead[rows], axis=0)


def ordered(layer: LayerUnits, sort: str, shown: str, change: np.ndarray | None = None) -> list[int]:
    """Unit numbers of a view in its order; units without a value of the sorting key come last.

    Args:
        layer: the layer.
        sort: one of SORTS.
        shown: one of SHOWN.
        change: (U,) how much the merge's unit differs from its parents, for "most changed".
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
    selected = {"all": np.ones(layer.units, bool), "dead": dead_anywhere(layer), "worst matched": worst}[shown]
    return [int(unit) for unit in order if selected[unit]]


def page_of(units: list[int], number: int) -> tuple[list[int], list[int]]:
    """Units of page `number` (the first is 1), and units of the page after it."""
    first = (number - 1) * PAGE
    return units[first : first + PAGE], units[first + PAGE : first + 2 * PAGE]


def first_layer(layers: Sequence[LayerUnits]) -> int:
    """Index of the layer that is selected at first: the middle one of those with weights."""
    weighty = [at for at, layer in enumerate(layers) if layer.kind in ("conv", "linear")] or list(range(len(layers)))
    return weighty[len(weighty) // 2]


def pages(units: list[int]) -> int:
    """Number of pages, at least 1."""
    return max(1, -(-len(units) // PAGE))


def strength(response: float, seen: tuple[float, float]) -> tuple[str, bool]:
    """Text for a picture's response on a scale of 0 (mean over images) to 1 (strongest), and whether it is below 1.

    seen: the unit's mean and largest response to the images. Where they are unknown or equal, the response itself is
    given, and said not to be on this scale.
    """
    mean, most = seen
    if np.isnan(response):
        return "response not measured", False
    if not most > mean:
        return f"response {response:.2g}, not on the scale of images".replace("-", numbers.MINUS), False
    scaled = (response - mean) / (most - mean)
    return f"response {numbers.ratio(scaled) if abs(scaled) < 10 else round(scaled)}", round(scaled, 2) < 1


def match_word(layer: LayerUnits, unit: int) -> str:
    """Outcome of A's unit in a few words: dead somewhere, or how well it matches its partner in B."""
    if not layer.images:
        return "not measured"
    dead = {name: bool(layer.dead[row, unit]) for row, name in enumerate(layer.models)}
    match = layer.match[unit]
    if dead["A"] and dead["pi(B)"]:
        return "dead in both"
    if dead["merge"]:
        return "died in the merge"
    if dead["A"] or dead["pi(B)"] or np.isnan(match):
        return "dead in one"
    return "well matched" if match >= WELL else "partly matched" if match >= PARTLY else "poorly matched"
