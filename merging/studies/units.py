"""Sixteen units of a layer under the magnifying glass: pictures, their noise, and who answers to whose picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from merging.errors import UnknownLayer
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.layer import SLOTS, layer_of
from merging.studies.registry import Subject, study

if TYPE_CHECKING:
    from torch import Tensor

    from merging.analysis.pictures.settings import PictureSettings
    from merging.network.graph.graph import Layer

BLOCK = 16  # units: one pass makes so many pictures
PARENTS = {"merge": ("A", "pi(B)"), "naive": ("A", "B")}  # whose units were averaged into one
FOLLOWS = 0.5  # of its own maximum: a unit that answers so strongly to another's pictures and images follows it
WORDS = {
    "kept": "both parents agree, and the merge follows both",
    "blended": "the merge follows both parents, which differ",
    "one-sided": "the merge follows one parent only",
    "replaced": "the merge follows neither parent",
    "died": "the merge's unit answers no image",
}


@saved
@dataclass(frozen=True)
class UnitsStudy:
    """K units of a layer, in M networks (`slots`).

    units: their numbers.  pictures: "first", "second" (other seed), "negative" -> (M, K, H, W, C) uint8.  cross:
    (M, M, K) response of row's unit to column's picture, 0 as to the average image, 1 as to its strongest (means over
    positions).  own: (M, K) to its own second picture.  pixels: (M, M, K) Pearson correlation of pictures; noise:
    (M, K) of a unit's first and second picture.  how: the settings they were made with.
    """

    layer: str
    units: tuple[int, ...]
    slots: tuple[str, ...]
    pictures: dict[str, np.ndarray]
    cross: np.ndarray
    own: np.ndarray
    pixels: np.ndarray
    noise: np.ndarray
    how: dict[str, object]


@dataclass(frozen=True)
class UnitsSettings:
    """Which units, and how their pictures are made."""

    layer: str = setting("", label="Layer", help="Torch name; the first with units if empty.")
    first: int = setting(0, low=0, high=1_000_000, label="First unit", help="Sixteen units from this one on.")
    steps: int = setting(256, low=16, high=4096, label="Steps", help="Optimisation steps of a picture.")
    negative: bool = setting(True, label="Negative direction", help="Also make what the units are against.")


def follows(picture: float, exemplars: float) -> float:
    """How much a unit follows another: the mean of its responses to that one's picture and strongest images, where 0
    is its response to the average image and 1 its largest, each counted from 0 to 1.

    What is not a number is left out; NaN where both are.
    """
    known = [min(max(value, 0.0), 1.0) for value in (picture, exemplars) if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def fate(dead: bool, r_a: float, r_b: float, agree: float) -> str:
    """A word of WORDS. dead: the merge's unit; r_a, r_b: how much it follows A's and pi(B)'s; agree: how much these
    follow each other (mean of both ways). The threshold is FOLLOWS."""
    if dead:
        return "died"
    to_a, to_b = (not np.isnan(r) and r >= FOLLOWS for r in (r_a, r_b))
    if to_a and to_b:
        return "kept" if agree >= FOLLOWS else "blended"
    return "one-sided" if to_a or to_b else "replaced"


def outcome(
    cross: np.ndarray, response: np.ndarray, dead: bool, made: str = "merge"
) -> tuple[str, tuple[float, float, float]]:
    """What became of one unit in the merge, or in the naive average: its fate, how much it follows its two parents, and
    how much these follow each other.

    cross, response: (M, M) of row's unit to column's picture and to its strongest images, in the order of SLOTS.  dead:
    the unit that is asked about.
    """
    one, a, b = (SLOTS.index(slot) for slot in (made, *PARENTS[made]))

    def follow(row: int, column: int) -> float:
        return follows(float(cross[row, column]), float(response[row, column]))

    to_a, to_b, agree = follow(one, a), follow(one, b), (follow(a, b) + follow(b, a)) / 2
    return fate(dead, to_a, to_b, agree), (to_a, to_b, agree)


@study(
    "units",
    label="Pictures of units, compared",
    summary="Pictures of 16 units in every network with two seeds, and how strongly each network answers to them.",
    source="Olah et al. 2017 (pictures); seed noise and cross-activation as in this program's documentation",
    settings=UnitsSettings,
)
def units(subject: Subject, settings: UnitsSettings) -> UnitsStudy:
    """Five networks' pictures of the same slots; pi(B)'s are looked up from B's. Raises UnknownLayer beyond the end."""
    from merging.analysis.pictures.settings import PictureSettings, pixel_correlation
    from merging.settings import settings_dict

    place, partner = layer_of(subject, settings.layer)
    numbers = block(place, settings.first)
    ways = {"first": (0, False), "second": (1, False)} | ({"negative": (0, True)} if settings.negative else {})
    made, passes = {}, 5 * len(ways)
    for number, (name, (seed, negative)) in enumerate(ways.items()):
        piece = subject.reported(0.95 * 5 * number / passes, 0.95 * 5 * (number + 1) / passes)
        how = PictureSettings(steps=settings.steps, negative=negative)
        made[name] = pictures_of(piece, place, partner, numbers, how, subject.seed + seed)
    cross, own = answers_to(subject, place, numbers, made["first"], made["second"])
    pixels = np.array([[pixel_correlation(x, y) for y in made["first"]] for x in made["first"]])
    noise = np.array([pixel_correlation(x, y) for x, y in zip(made["first"], made["second"], strict=True)])
    told: dict[str, object] = {
        **settings_dict(PictureSettings(steps=settings.steps)),
        "seeds": (subject.seed, subject.seed + 1),
    }
    return UnitsStudy(
        place.name,
        numbers,
        SLOTS,
        {name: np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8) for name, pixels in made.items()},
        cross,
        own,
        pixels,
        noise,
        told,
    )


def block(place: Layer, first: int) -> tuple[int, ...]:
    """At most sixteen units of a layer from this one on. Raises UnknownLayer beyond its end."""
    numbers = tuple(range(first, min(first + BLOCK, place.units)))
    if not numbers:
        raise UnknownLayer(f"{place.name} has units 0 to {place.units - 1}; there is none from {first} on.")
    return numbers


def pictures_of(
    subject: Subject,
    place: Layer,
    partner: Tensor,
    numbers: tuple[int, ...],
    how: PictureSettings,
    seed: int,
) -> np.ndarray:
    """(M, K, H, W, C) float32 in 0..1: these units' pictures in every network of SLOTS, each picture made once."""
    from merging.analysis.pictures.render import render
    from merging.network.permutation import named_tensors

    shape = tuple(subject.graph.record.values[subject.graph.input][1:])
    moved = tuple(int(partner[unit]) for unit in numbers)
    whose = {
        "A": ("A", numbers),
        "pi(B)": ("B", moved) if subject.exact else ("pi(B)", numbers),
        "merge": ("merge", numbers),
        "naive": ("naive", numbers),
        "B": ("B", numbers),
    }
    wanted: dict[str, list[int]] = {}
    for net, units in whose.values():
        wanted[net] = list(dict.fromkeys([*wanted.get(net, ()), *units]))
    made: dict[tuple[str, int], np.ndarray] = {}
    total = sum(map(len, wanted.values()))
    for net, drawn in wanted.items():
        piece = subject.part(len(made) / total, (len(made) + len(drawn)) / total, f"pictures of {net}")
        tensors = named_tensors(subject.nets[net])
        pictures = render(
            subject.graph, tensors, place.name, drawn, input_shape=shape, settings=how, seed=seed, report=piece
        )
        made |= {(net, unit): picture.pixels for unit, picture in zip(drawn, pictures, strict=True)}
    return np.array([[made[net, unit] for unit in units] for net, units in map(whose.__getitem__, SLOTS)], np.float32)


def answers_to(
    subject: Subject, place: Layer, numbers: tuple[int, ...], first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(M, M, K) `cross` and (M, K) `own` of UnitsStudy, for pictures (M, K, H, W, C)."""
    import torch

    from merging.analysis.activations.responses import relative, respond
    from merging.network.permutation import named_tensors

    like = next(subject.nets["A"].parameters())
    shown = [torch.from_numpy(p.reshape(-1, *p.shape[2:])).permute(0, 3, 1, 2).to(like) for p in (first, second)]
    slots, count = len(SLOTS), len(numbers)
    chosen = torch.arange(count)
    cross, own = np.empty((slots, slots, count)), np.empty((slots, count))
    data = subject.images(2000)
    for row, slot in enumerate(SLOTS):
        tensors = named_tensors(subject.nets[slot])
        known = respond(subject.graph, tensors, place, data).mean[:, list(numbers)]
        both = [respond(subject.graph, tensors, place, images).mean[:, list(numbers)] for images in shown]
        first_of, second_of = (relative(one, known).view(slots, count, count)[:, chosen, chosen] for one in both)
        cross[row], own[row] = first_of.cpu().numpy(), second_of[row].cpu().numpy()
        subject.report("studying", 0.95 + 0.05 * (row + 1) / slots, f"{slot} answers to the pictures")
    return cross, own
